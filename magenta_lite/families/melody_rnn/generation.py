"""What `generate` does with a MelodyRNN: go on from a primer, or from nothing."""

from __future__ import annotations

import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn import decoding
from magenta_lite.families.melody_rnn.backing_chords import BackingChords
from magenta_lite.families.melody_rnn.primers import PRIMERS
from magenta_lite.modeling.sampling import Sampler, output_seeds
from magenta_lite.request import check_request


def generate(model, converter, request) -> list:
    """Returns the NoteSequences that `request`, a `GenerateRequest`, asks for.

    Raises:
        UserError: If the primer is none, or does not fit into the steps asked for.
    """
    check_request("melody_rnn", converter, request)
    primer = PRIMERS[converter.config.kind](converter, request)
    new_steps = steps_to_add(request, primer.steps, primer.usual_steps)
    backing = BackingChords(converter, request, primer) if model.encoding.chords else None
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


def steps_to_add(request, primer_steps: int, usual: int) -> int:
    """Returns how many steps to add to a primer. Raises: UserError if none.

    Args:
        request: A `GenerateRequest`.
        primer_steps: Length of the primer.
        usual: Length of a piece, primer included, where the request does not say.
    """
    if request.new_steps is not None:
        return request.new_steps
    if request.num_steps is None:
        return usual - primer_steps if primer_steps < usual else usual // 2
    if request.num_steps <= primer_steps:
        raise UserError(
            f"--num_steps={request.num_steps} counts the primer, which has {primer_steps} steps; "
            f"give --num_steps={primer_steps + usual} or --new_steps={usual}"
        )
    return request.num_steps - primer_steps


def _continued(model, primer, new_steps: int, request, chords):
    """Returns event ids (N, P + S)."""
    primer = tf.constant(primer, tf.int32)
    chords = None if chords is None else tf.constant(chords, tf.int32)
    seeds = output_seeds(tf.constant(request.seed, tf.int32), request.num_outputs)
    sampler, beams, branches = Sampler.of(request), request.beam_size, request.branch_factor
    if request.best_beam:
        events, _ = decoding.beam_search(model, primer, new_steps, beams, chords)
        return events[: request.num_outputs]
    if beams > 1 or branches > 1:
        events, _ = decoding.stochastic_beam(
            model,
            primer,
            new_steps,
            seeds,
            sampler,
            chords,
            beams=beams,
            branches=branches,
            stride=request.steps_per_iteration,
        )
        return events
    events, _ = decoding.sample(model, primer, new_steps, seeds, sampler, chords)
    return events
