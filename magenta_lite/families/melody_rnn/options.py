"""Options of `generate` for a MelodyRNN; no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from magenta_lite.converters.chords import typed_symbols
from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn.primers import PRIMERS
from magenta_lite.modeling.options import SamplingOptions, option

OF_EVERY_MODEL = ("window", "num_steps", "new_steps", "only_new", "top_k", "top_p", "min_p")
OF_BEAM_SEARCH = ("beam_size", "branch_factor", "steps_per_iteration", "best_beam")
USUAL_STEPS = 128
OF_CHORDS = ("backing_chords", "steps_per_chord", "render_chords")


@dataclasses.dataclass(frozen=True)
class MelodyRNNOptions(SamplingOptions):
    """Options of a MelodyRNN; the kind of music decides which of them apply."""

    family: ClassVar[str] = "melody_rnn"

    window: str = option("1", "Number of the track of --input to continue, the likeliest melody 1.")
    primer_melody: str = option(
        "",
        "Melody to continue, one event per 16th: pitches, -1 for note-off, -2 for no event, "
        'e.g. "[60, -2, 62, -2]".',
    )
    primer_drums: str = option(
        "", 'Drums to continue, the pitches hit at each step, e.g. "[(36,), (), (36, 42)]".'
    )
    primer_pitches: str = option("", 'Chord to continue, e.g. "[60, 64, 67]".')
    primer_bars: int | None = option(
        None,
        "Bars of --input, up to its end, that are continued. Default: half of the length of the "
        "piece.",
        least=1,
    )
    primer_seconds: float | None = option(
        None, "Seconds of --input, up to its end, that are continued.", least=0.01
    )
    backing_chords: str = option("", 'Chords to play over, of equal length: "C G Am F".')
    steps_per_chord: int = option(16, "Length of each backing chord in steps.", least=1)
    render_chords: bool = option(False, "Write the backing chords as notes, too.")
    num_steps: int | None = option(
        None,
        "Length of a piece in steps, primer included: 16ths, or hundredths of a second for "
        "performances.",
        least=2,
    )
    new_steps: int | None = option(None, "Steps to add to the primer.", least=1)
    only_new: bool = option(False, "Write the continuation without the primer.")
    magenta_timing: bool = option(
        False,
        "End the primer with a note-off and an empty step, and keep its notes that had to be "
        "folded into the model's range there, as the original does.",
    )
    beam_size: int = option(1, "Beams kept in each iteration of beam search.", least=1)
    branch_factor: int = option(1, "Samples drawn from each beam in an iteration.", least=1)
    steps_per_iteration: int = option(1, "Steps in an iteration of beam search.", least=1)
    best_beam: bool = option(False, "Find the likeliest pieces by beam search without sampling.")

    option_hints: ClassVar[dict[str, str]] = {
        "chords": "models of melodies over chords take --backing_chords and --steps_per_chord"
    }

    @property
    def takes_seeds(self) -> bool:
        beams = self.best_beam or self.beam_size > 1 or self.branch_factor > 1
        return self.mode == "sample" and not beams

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        del converter
        return ("sample", "continue")

    @classmethod
    def names(cls, converter: Any) -> tuple[str, ...]:
        primer, encoding = PRIMERS[converter.config.kind], converter.encoding
        known = (*OF_EVERY_MODEL, *primer.texts, *primer.options)
        known += OF_CHORDS if encoding.chords else ()
        return known if encoding.shift_ids else known + OF_BEAM_SEARCH

    def total_length(self) -> float:
        steps = self.num_steps or self.new_steps or USUAL_STEPS
        return self.num_outputs * steps * self.beam_size * self.branch_factor

    def check(self, converter: Any) -> None:
        super().check(converter)
        PRIMERS[converter.config.kind].check(converter, self)
        if self.backing_chords:
            typed_symbols(self.backing_chords, "backing_chords")
        if self.new_steps is not None and self.num_steps is not None:
            raise UserError(
                f"--num_steps={self.num_steps} counts the primer and --new_steps="
                f"{self.new_steps} does not: give one of them"
            )
        beams = self.beam_size
        if self.best_beam and self.num_outputs > beams:
            raise UserError(
                f"--best_beam gives at most --beam_size={beams} outputs, not "
                f"--num_outputs={self.num_outputs}"
            )
        if self.best_beam and (self.top_k or self.top_p < 1 or self.min_p):
            raise UserError("--best_beam does not sample: leave out --top_k, --top_p and --min_p")
