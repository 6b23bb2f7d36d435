"""Generation options of a Music Transformer; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from magenta_lite.converters.text_melody import TextMelodyCodec
from magenta_lite.errors import UserError
from magenta_lite.modeling.options import TokenOptions, option

WRITTEN_MELODY = TextMelodyCodec(steps_per_quarter=4)  # format of --primer_melody


@dataclasses.dataclass(frozen=True)
class MusicTransformerOptions(TokenOptions):
    """Options of a Music Transformer; a model of accompaniments supports that mode only."""

    family: ClassVar[str] = "music_transformer"

    only_new: bool = option(False, "Write the continuation without the primer.")
    primer_melody: str = option(
        "",
        "Melody to accompany, one event per 16th: pitches, -1 for note-off, -2 for no event, "
        'e.g. "60 -2 67 -1".',
    )
    drop_melody: bool = option(False, "Write the accompaniment without the melody.")
    max_hung_note: float = option(
        0.0, "Longest duration in seconds of notes that the model does not end; 0 for any.", least=0
    )

    mode_hints: ClassVar[dict[str, str]] = {
        "accompany": "; models of --config=music_transformer_melody accompany"
    }

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        return ("accompany",) if converter.rules.inputs else ("sample", "continue")

    @classmethod
    def names(cls, converter: Any) -> tuple[str, ...]:
        accompanies = bool(converter.rules.inputs)
        others = ("primer_seconds", "only_new") if accompanies else ("primer_melody", "drop_melody")
        if not converter.rules.pitches:  # tokens without note-offs
            others += ("max_hung_note",)
        return tuple(name for name in super().names(converter) if name not in others)

    def check(self, converter: Any) -> None:
        super().check(converter)
        self.check_inputs()
        if self.mode == "accompany" and bool(self.inputs) == bool(self.primer_melody):
            raise UserError(
                "--mode=accompany needs --input=FILE with a melody, or "
                '--primer_melody="60 -2 67 -1", and not both'
            )
        if self.primer_melody:
            WRITTEN_MELODY.ids_of_text(self.primer_melody)
