"""The base class of converters to event sequences."""

from __future__ import annotations

import math

from magenta_lite.converters.base import EventFormat, Report
from magenta_lite.converters.converter import Converter
from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.converters.grid import MAX_STEPS, Stretch


class EventSequenceConverter(Converter):
    """Converts whole pieces to sequences of event ids, for models that predict the next event.

    Subclasses define `encoding` in addition to the methods of `Converter`.
    """

    @property
    def encoding(self) -> EventEncoding:
        """The input features and the classes of a model, which its section may extend."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """Vocabulary size."""
        raise NotImplementedError

    @property
    def event_format(self) -> EventFormat:
        """One id per event."""
        return EventFormat("categorical", (self.depth,))

    @property
    def window_steps(self) -> int:
        """Maximum length of a sequence in events."""
        return self.config.max_steps

    def _bar(self, stretch: Stretch, report: Report) -> int:
        """Returns the bar length in steps; reports the reason and returns 0 if it is invalid."""
        grid = self.config.steps_per_quarter
        bar = stretch.steps_per_bar(grid)
        if bar < 1 or bar != int(bar):
            meter = f"{stretch.numerator}/{stretch.denominator}"
            report.drop(f"bar of {meter} is not a whole number of {4 * grid}ths")
            return 0
        if not 0 < stretch.qpm < math.inf:
            report.drop("tempo that is not a positive number")
            return 0
        if stretch.notes.end.max() * stretch.steps_per_second(grid) > MAX_STEPS:
            report.drop(f"music longer than {MAX_STEPS:,} steps")
            return 0
        return int(bar)
