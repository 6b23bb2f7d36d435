"""What may be asked of a Music Transformer; no TensorFlow."""

from __future__ import annotations

from magenta_lite.converters.text_melody import TextMelodyCodec
from magenta_lite.errors import UserError
from magenta_lite.request import check_inputs

DRAWS = True
HINTS = {"accompany": "; models of --config=music_transformer_melody accompany"}
WRITTEN_MELODY = TextMelodyCodec(steps_per_quarter=4)  # what --primer_melody is written in


def modes(converter) -> tuple[str, ...]:
    """Returns what a model can do: one that reads melodies accompanies them, and no more."""
    return ("accompany",) if converter.rules.inputs else ("sample", "continue")


def options(converter) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    own = (
        ("primer_melody", "drop_melody")
        if converter.rules.inputs
        else ("primer_seconds", "only_new")
    )
    return ("num_tokens", *own, "top_k", "top_p", "min_p")


def check(converter, request) -> None:
    """Raises: UserError if an input is missing, or a melody is none."""
    check_inputs(request)
    if request.mode == "accompany" and bool(request.inputs) == bool(request.primer_melody):
        raise UserError(
            "--mode=accompany needs --input=FILE with a melody, or "
            '--primer_melody="60 -2 67 -1", and not both'
        )
    if request.primer_melody:
        WRITTEN_MELODY.ids_of_text(request.primer_melody)
