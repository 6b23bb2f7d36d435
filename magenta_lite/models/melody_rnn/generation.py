"""What `generate` does with a MelodyRNN: go on from a primer, or from nothing."""

from __future__ import annotations

import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.models.melody_rnn import decoding
from magenta_lite.models.melody_rnn.backing_chords import BackingChords
from magenta_lite.models.melody_rnn.inference import inference_functions, output_seeds
from magenta_lite.models.melody_rnn.primers import PRIMERS

MODES = ("sample", "continue")
# What a `GenerateRequest` may say beside what all families understand; those of `CHORDS` to models
# with chords, and each primer to models of its kind of music.
EVERYWHERE = ("num_steps", "new_steps", "only_new", "top_k", "top_p")
BEAMS = ("beam_size", "branch_factor", "steps_per_iteration", "best_beam")
CHORDS = ("backing_chords", "steps_per_chord", "render_chords")
OPTIONS = (
    *EVERYWHERE,
    *BEAMS,
    *CHORDS,
    *dict.fromkeys(name for primer in PRIMERS.values() for name in primer.options),
)


def generate(model, encoder, request) -> list:
    """Returns the NoteSequences that `request`, a `GenerateRequest`, asks for.

    Raises:
        UserError: If the primer is none, or does not fit into the steps asked for.
    """
    primer_class = PRIMERS[encoder.config.kind]
    _check_options(model, primer_class, request)
    primer = primer_class(encoder, request)
    backing = BackingChords(encoder, request) if model.encoding.chords else None
    usual = backing.steps if backing else primer.usual_steps
    new_steps = steps_to_add(request, primer.steps, usual)
    chords = backing.ids(primer.steps + new_steps, primer.shift) if backing else None
    continued = _continued(model, primer.ids, new_steps, request, chords).numpy()

    qpm = request.qpm if primer.qpm is None or request.qpm_given else primer.qpm
    sequences = []
    for ids in continued:
        sequence = primer.music(ids, qpm, new_steps)
        if backing:
            first = primer.steps if request.only_new else 0
            backing.add_to(sequence, first, primer.steps + new_steps, qpm)
        sequences.append(sequence)
    return sequences


def _check_options(model, primer_class, request) -> None:
    """Raises: UserError if the request has what means nothing to this kind of model."""
    known = (*EVERYWHERE, *primer_class.options)
    known += CHORDS if model.encoding.chords else ()
    known += () if model.encoding.shift_ids else BEAMS
    for name in OPTIONS:
        if name not in known and getattr(request, name) != getattr(type(request), name):
            raise UserError(
                f"--{name} means nothing to a model of {primer_class.noun}; leave it out"
            )
    if request.chords:
        raise UserError(
            f"--chords={request.chords} is for windows of MusicVAE; models of melodies over chords "
            "take --backing_chords and --steps_per_chord"
        )


def steps_to_add(request, primer_steps: int, usual: int) -> int:
    """Returns how many steps to add to a primer. Raises: UserError if none.

    Args:
        request: A `GenerateRequest`.
        primer_steps: Length of the primer.
        usual: Length of a piece, primer included, where the request does not say.
    """
    if request.new_steps is not None:
        if request.num_steps is not None:
            raise UserError(
                f"--num_steps={request.num_steps} counts the primer and --new_steps="
                f"{request.new_steps} does not: give one of them"
            )
        return request.new_steps
    total = usual if request.num_steps is None else request.num_steps
    if total <= primer_steps:
        raise UserError(
            f"--num_steps={total} counts the primer, which has {primer_steps} steps; give "
            f"--num_steps={primer_steps + usual} or --new_steps={usual}"
        )
    return total - primer_steps


def _continued(model, primer, new_steps: int, request, chords):
    """Returns event ids (N, P + S)."""
    primer = tf.constant(primer, tf.int32)
    chords = None if chords is None else tf.constant(chords, tf.int32)
    seeds = output_seeds(tf.constant(request.seed, tf.int32), request.num_outputs)
    beams, branches = request.beam_size, request.branch_factor
    if request.best_beam:
        if request.num_outputs > beams:
            raise UserError(
                f"--best_beam gives at most --beam_size={beams} outputs, not "
                f"--num_outputs={request.num_outputs}"
            )
        events, _ = decoding.beam_search(model, primer, new_steps, beams, chords)
        return events[: request.num_outputs]
    if beams > 1 or branches > 1:
        if request.top_k or request.top_p < 1:
            raise UserError("--top_k and --top_p do not go with --beam_size and --branch_factor")
        events, _ = decoding.stochastic_beam(
            model,
            primer,
            new_steps,
            seeds,
            request.temperature,
            chords,
            beams=beams,
            branches=branches,
            stride=request.steps_per_iteration,
        )
        return events
    return inference_functions(model)["generate"](
        primer=primer,
        num_outputs=tf.constant(request.num_outputs),
        num_steps=tf.constant(new_steps),
        temperature=tf.constant(request.temperature, tf.float32),
        top_k=tf.constant(request.top_k),
        top_p=tf.constant(request.top_p, tf.float32),
        seed=tf.constant(request.seed, tf.int32),
        **({} if chords is None else {"chords": chords}),
    )["events"]
