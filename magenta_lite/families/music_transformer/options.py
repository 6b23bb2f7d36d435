"""Generation options of a Music Transformer; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from magenta_lite.converters.text_melody import TextMelodyCodec
from magenta_lite.errors import UserError
from magenta_lite.modeling.gaps import Gap
from magenta_lite.modeling.limits import MOST
from magenta_lite.modeling.options import InfillOptions, TokenOptions, option

MOST_PARTICLES = 1024
WRITTEN_MELODY = TextMelodyCodec(steps_per_quarter=4)  # format of --primer_melody


@dataclasses.dataclass(frozen=True)
class MusicTransformerOptions(InfillOptions, TokenOptions):
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

    voices: tuple[str, ...] = option(
        (),
        "Voices of --input that --mode=harmonize keeps, e.g. soprano,bass; it writes the others. "
        "Default: the soprano.",
    )
    particles: int = option(
        32,
        "Versions of a chorale between which --mode=harmonize and infill choose as they go on, by "
        "how well the given notes fit; more are better and slower.",
        least=1,
        most=MOST_PARTICLES,
    )

    mode_hints: ClassVar[dict[str, str]] = {
        "accompany": "; models of --config=music_transformer_melody accompany",
        "harmonize": "; models of --config=music_transformer_jsb harmonize",
        "infill": "; models of chorales, and of performances trained with --set "
        "converter.infill=0.5, fill gaps",
    }

    @property
    def takes_seeds(self) -> bool:
        return self.mode == "sample"

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        if converter.rules.inputs:
            return ("accompany",)
        harmonizes = converter.config.kind == "chorale"
        fills = harmonizes or converter.rearranges
        return ("sample", "continue", *["harmonize"] * harmonizes, *["infill"] * fills)

    @classmethod
    def names(cls, converter: Any) -> tuple[str, ...]:
        accompanies = bool(converter.rules.inputs)
        others = ("primer_seconds", "only_new") if accompanies else ("primer_melody", "drop_melody")
        if "harmonize" not in cls.modes(converter):
            others += ("voices", "particles")
        if not converter.rules.pitches:  # tokens without note-offs
            others += ("max_hung_note",)
        if converter.config.kind == "performance":  # all instruments are one piano
            others += ("tracks",)
        return tuple(name for name in super().names(converter) if name not in others)

    def check(self, converter: Any) -> None:
        super().check(converter)
        self.check_inputs()
        if self.mode == "harmonize":
            if not self.inputs:
                raise UserError("--mode=harmonize needs --input=FILE with the voices to keep")
            if self.num_tokens:
                raise UserError("--mode=harmonize goes to the end of --input; omit --num_tokens")
            converter.voice_numbers(self.voices)
        if converter.config.kind == "chorale" and self.mode in ("harmonize", "infill"):
            converter.numbers_of(self.tracks)
            if self.num_outputs * self.particles > MOST["num_outputs"]:
                raise UserError(
                    f"--particles={self.particles} of --num_outputs={self.num_outputs} pieces are "
                    f"more than {MOST['num_outputs']:,} together; ask for fewer"
                )
        if self.mode == "infill" and self.num_tokens:
            raise UserError("--mode=infill writes as much as --bars last; leave out --num_tokens")
        if self.mode == "accompany" and bool(self.inputs) == bool(self.primer_melody):
            raise UserError(
                "--mode=accompany needs --input=FILE with a melody, or "
                '--primer_melody="60 -2 67 -1", and not both'
            )
        if self.primer_melody:
            WRITTEN_MELODY.ids_of_text(self.primer_melody)

    def gaps(self) -> list[Gap]:
        # Tracks are names of voices, which `chorale_infilling` finds.
        return [Gap.of(*named, str(self.bars), ()) for named in self.inputs]
