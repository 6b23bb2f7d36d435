"""Generation with a MelodyRNN: continuation of a primer, and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn import decoding
from magenta_lite.families.melody_rnn.backing_chords import BackingChords
from magenta_lite.families.melody_rnn.primers import PRIMERS
from magenta_lite.modeling.sampling import Sampler, seeds_of

if TYPE_CHECKING:
    from magenta_lite.families.melody_rnn.model import MelodyRNN
    from magenta_lite.families.melody_rnn.options import MelodyRNNOptions


def generate(model: MelodyRNN, options: MelodyRNNOptions, converter: Any) -> list:
    """Returns `options.num_outputs` NoteSequences.

    Raises:
        UserError: If the primer is invalid, or longer than the requested piece.
    """
    options.check(converter)
    primer = PRIMERS[converter.config.kind](converter, options)
    new_steps = steps_to_add(options, primer.steps, primer.usual_steps)
    backing = BackingChords(converter, options, primer) if model.encoding.chords else None
    chords = backing.ids(primer.steps + new_steps, primer.shift) if backing else None
    continued = _continued(model, primer.ids, new_steps, options, chords).numpy()

    qpm = options.qpm if primer.qpm is None or options.qpm_given else primer.qpm
    sequences = []
    for ids in continued:
        sequence = primer.music(ids, qpm, new_steps)
        if backing:
            first = primer.steps if options.only_new else 0
            backing.add_to(sequence, first, primer.steps + new_steps, qpm)
        sequences.append(sequence)
    return sequences


def steps_to_add(options: MelodyRNNOptions, primer_steps: int, usual: int) -> int:
    """Returns the number of steps to add to a primer. Raises: UserError if there are none.

    `usual` is the default length of a piece in steps, primer included.
    """
    if options.new_steps is not None:
        return options.new_steps
    if options.num_steps is None:
        return usual - primer_steps if primer_steps < usual else usual // 2
    if options.num_steps <= primer_steps:
        raise UserError(
            f"--num_steps={options.num_steps} counts the primer, which has {primer_steps} steps; "
            f"give --num_steps={primer_steps + usual} or --new_steps={usual}"
        )
    return options.num_steps - primer_steps


def _continued(model, primer, new_steps: int, options, chords):
    """Returns event ids (N, P + S)."""
    primer = tf.constant(primer, tf.int32)
    chords = None if chords is None else tf.constant(chords, tf.int32)
    seeds = seeds_of(options)
    beams, branches = options.beam_size, options.branch_factor
    if options.best_beam:
        events, _ = decoding.beam_search(model, primer, new_steps, beams, chords)
        return events[: options.num_outputs]
    search, settings = decoding.sample, {}
    if beams > 1 or branches > 1:
        search = decoding.stochastic_beam
        settings = {"beams": beams, "branches": branches, "stride": options.steps_per_iteration}
    sampler = Sampler.of(options)
    return search(model, primer, new_steps, seeds, sampler, chords, **settings)[0]
