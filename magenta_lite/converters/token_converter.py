"""What converters share whose examples are rows of one long stream of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from magenta_lite.converters.converter import Converter
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.typing import Events, NoteSequence


class TokenConverter(Converter):
    """Music as tokens that a transformer writes, of which it trains on crops.

    Subclasses give `rules`, `ids_of` and `seconds` beside what an `Converter` gives, and a setting
    `crop`.

    Attributes:
        crop_grid: Crops begin at multiples of so many tokens.
        rejects_transpositions: Music that transposed would leave the range is not transposed so, as
            in the original, instead of by less.
    """

    crop_grid = 1
    rejects_transpositions = True

    @property
    def rules(self) -> TokenRules:
        """What the ids mean to a model that writes them."""
        raise NotImplementedError

    def ids_of(self, sequence: NoteSequence, **kwargs: Any) -> list[int]:
        """Returns the ids of a whole NoteSequence."""
        raise NotImplementedError

    def seconds(self, ids: Iterable[int], qpm: float) -> float:
        """Returns how long `ids` last at `qpm` quarter notes a minute."""
        raise NotImplementedError

    @property
    def window_steps(self) -> int:
        """Tokens of a row."""
        return 2 * self.config.crop

    @property
    def crop(self) -> int:
        """Tokens of a training example, which begins anywhere in the first half of its row."""
        return self.config.crop

    def valid_next(self, ids: Events) -> np.ndarray:
        """Returns which ids may follow `ids` (T,): bool (size,); see `TokenRules`."""
        return self.rules.valid_next(ids)
