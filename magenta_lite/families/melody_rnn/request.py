"""What may be asked of a MelodyRNN; no TensorFlow."""

from __future__ import annotations

from magenta_lite.converters.chords import typed_symbols
from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn.primers import PRIMERS

DRAWS = True
EVERYWHERE = ("chords", "num_steps", "new_steps", "only_new", "top_k", "top_p")
BEAMS = ("beam_size", "branch_factor", "steps_per_iteration", "best_beam")
CHORDS = ("backing_chords", "steps_per_chord", "render_chords")


def modes(converter) -> tuple[str, ...]:
    """Returns what a model can do."""
    del converter
    return ("sample", "continue")


def options(converter) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    primer, encoding = PRIMERS[converter.config.kind], converter.encoding
    known = (*EVERYWHERE, *primer.texts, *primer.options)
    known += CHORDS if encoding.chords else ()
    return known if encoding.shift_ids else known + BEAMS


def check(converter, request) -> None:
    """Raises: UserError if the primer is none, or what is asked for does not go together."""
    if request.chords:
        raise UserError(
            f"--chords={request.chords} is for windows of MusicVAE; models of melodies over chords "
            "take --backing_chords and --steps_per_chord"
        )
    PRIMERS[converter.config.kind].check(converter, request)
    if request.backing_chords:
        typed_symbols(request.backing_chords, "backing_chords")
    if request.new_steps is not None and request.num_steps is not None:
        raise UserError(
            f"--num_steps={request.num_steps} counts the primer and --new_steps="
            f"{request.new_steps} does not: give one of them"
        )
    beams = request.beam_size
    if request.best_beam and request.num_outputs > beams:
        raise UserError(
            f"--best_beam gives at most --beam_size={beams} outputs, not "
            f"--num_outputs={request.num_outputs}"
        )
    if max(beams, request.branch_factor) > 1 and (request.top_k or request.top_p < 1):
        raise UserError("--top_k and --top_p do not go with --beam_size and --branch_factor")
