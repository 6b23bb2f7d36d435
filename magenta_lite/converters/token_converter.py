"""The base class of converters to tokens of transformers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from magenta_lite.converters.converter import Converter
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music


class TokenConverter(Converter):
    """Converts music to rows of tokens, of which transformers train on crops.

    Subclasses define `rules`, `ids_of` and `seconds` in addition to the methods of `Converter`, and
    a config field `crop`; those that fill in gaps (see `gap_layout`) also `with_gap` and a config
    field `infill`, the share of the examples of training that have a gap.
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

    @property
    def rearranges(self) -> bool:
        return getattr(self.config, "infill", 0.0) > 0

    def rearranged(self, events: Events, rng: np.random.Generator) -> Events:
        if not self.rearranges or rng.random() >= self.config.infill:
            return events
        return self.with_gap(np.asarray(events), rng)

    def with_gap(self, events: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns a crop (T, *event_shape) with a random gap, of at most `crop` tokens."""
        raise NotImplementedError

    def valid_next(self, ids: Events) -> np.ndarray:
        """Returns the mask bool (size,) of valid next ids after `ids` (T,); see `TokenRules`."""
        return self.rules.valid_next(ids)


def check_share(config: Any, name: str) -> None:
    """Raises: UserError if the field `name` of a converter section is no share."""
    if not 0 <= getattr(config, name) <= 1:
        raise UserError(f"converter.{name}={getattr(config, name)} must lie in [0, 1]")
