"""The base class of converters to tokens of transformers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from magenta_lite.converters.converter import Converter
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.typing import Events, Music


class TokenConverter(Converter):
    """Converts music to rows of tokens, of which transformers train on crops.

    Subclasses define `rules`, `ids_of` and `seconds` in addition to the methods of `Converter`, and
    a config field `crop`.
    """

    rejects_transpositions = True  # as in the original

    @property
    def rules(self) -> TokenRules:
        """The grammar of the ids."""
        raise NotImplementedError

    def ids_of(self, music: Music, **kwargs: Any) -> list[int]:
        """Returns the ids of a whole piece."""
        raise NotImplementedError

    def seconds(self, ids: Iterable[int], qpm: float) -> float:
        """Returns the duration of `ids` in seconds at `qpm` quarter notes a minute."""
        raise NotImplementedError

    @property
    def window_steps(self) -> int:
        """Length of a row in tokens."""
        return 2 * self.config.crop

    @property
    def crop(self) -> int:
        """Length of a training example in tokens; it begins in the first half of its row."""
        return self.config.crop

    def valid_next(self, ids: Events) -> np.ndarray:
        """Returns the mask bool (size,) of valid next ids after `ids` (T,); see `TokenRules`."""
        return self.rules.valid_next(ids)
