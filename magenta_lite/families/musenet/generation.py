"""What `generate` does with a MuseNet: from nothing, going on, or with others who join a piece."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.converter import families_of
from magenta_lite.converters.writing import add_marker
from magenta_lite.errors import UserError
from magenta_lite.families.musenet.critic import judged
from magenta_lite.families.musenet.grammar import Constraints, given_notes
from magenta_lite.families.musenet.long_pieces import generate_tokens
from magenta_lite.modeling.chunked_decoding import first_seconds

if TYPE_CHECKING:
    from magenta_lite.converters.musenet.converter import MuseNetConverter
    from magenta_lite.families.musenet.model import MuseNet
    from magenta_lite.families.musenet.options import MuseNetOptions

TOKENS_PER_SECOND = 300  # more than any music has


def generate(model: MuseNet, converter: MuseNetConverter, options: MuseNetOptions) -> list:
    """Returns NoteSequences, `options.num_outputs` of each input.

    Args:
        model: A trained model.
        converter: Its converter.
        options: `GenerateOptions` of its family.

    Raises:
        UserError: If the mode's input is missing or holds no notes, or a name or number does not
            fit.
    """
    options.check(converter)
    if options.rank == "critic" and options.candidates > 1 and not model.objective.critic:
        raise UserError(
            "This model was trained without a critic (objective.critic=0); rank candidates with "
            "--rank=likelihood"
        )
    sequences = []
    for name, start in _starts(converter, options):
        notes = converter.notes_of(start)
        constraints = _constraints(options, name, notes)
        # The style asked for, or that of what is gone on from.
        style = options.style or converter.style_of(start)
        primer = converter.prefix(style, _families(options, notes))
        if options.mode == "continue":
            primer += codec.ids(notes)
        total = _total(model, options, len(primer), constraints.units)
        describe = _seconds_of(constraints.units) if constraints.units else None
        asked = dataclasses.replace(options, num_outputs=options.num_outputs * options.candidates)
        rows = generate_tokens(model, primer, asked, total, constraints, describe)
        rows = _best(model, rows, options, constraints)
        pieces = [converter.decode(row, options.qpm) for row in rows]
        if options.mode == "continue":
            for piece in pieces:
                add_marker(piece, "continuation", converter.seconds(primer, options.qpm))
        sequences += pieces
    return sequences


def _best(model, rows, options, constraints: Constraints):
    """Returns the best of all candidates, the best first."""
    if options.candidates == 1:
        return rows
    by_critic, by_likelihood = judged(model, rows, constraints)
    scores = by_critic if options.rank == "critic" else by_likelihood
    order = np.argsort(-scores)
    kept = ", ".join(f"{scores[i]:.3f}" for i in order[: options.num_outputs])
    mean = f"{scores.mean():.3f}"
    print(f"Of {len(rows)} candidates by {options.rank}: {kept}; mean {mean}", file=sys.stderr)
    return rows[order[: options.num_outputs]]


def _families(options, notes) -> set[str]:
    """Returns who plays: as asked, beside those of what they join; or those of what is there."""
    asked = {
        i.family for i in vocabulary.INSTRUMENTS if {i.name, i.family} & set(options.instruments)
    }
    there = set(families_of(notes))
    return asked | there if options.mode == "accompany" else asked or there


def _constraints(options, name: str, notes) -> Constraints:
    """Returns what a piece is to be that continues notes, or in which others accompany them."""
    joins, asked = options.mode == "accompany", options.instruments
    limited = asked and (options.strict or joins)
    allowed = vocabulary.played_by(asked) if limited else np.ones(vocabulary.SIZE, bool)
    guidance = None if options.guidance == 1 else options.guidance
    if not joins:
        units = round((options.minutes or 0) * 60 * vocabulary.UNITS_PER_SECOND)
        return Constraints(units, allowed, guidance)
    nobody = vocabulary.played_by([])
    others = allowed & ~vocabulary.played_by({note.instrument.name for note in notes}) | nobody
    if np.array_equal(others, nobody):
        raise UserError(f"All of --instruments play in {name} already; ask others to join")
    return Constraints(max(note.end for note in notes), others, guidance, given_notes(notes))


def _seconds_of(units: int):
    """Returns what describes how far the shortest of some pieces of `units` is."""
    rate = vocabulary.UNITS_PER_SECOND

    def describe(state) -> str:
        return f"{int(min(state.grammar_state.units)) / rate:.0f} of {units / rate:.0f} s"

    return describe


def _starts(converter, options) -> list:
    """Returns pairs of a name and the NoteSequence to go on from, an empty one to begin."""
    from note_seq.protobuf import music_pb2

    if options.mode == "sample":
        return [("", music_pb2.NoteSequence())]
    starts = []
    for name, piece in options.inputs:
        report = Report()
        if options.mode == "continue":
            piece = first_seconds(name, piece, options)
        if not converter.notes_of(piece, report):
            raise UserError(f"{name} has nothing to go on from: {report.table()}")
        starts.append((name, piece))
    return starts


def _total(model, options, primer: int, units: int) -> int:
    """Returns how many tokens a piece may have, or raises a UserError if it has no room."""
    seen = model.sizes.positions
    if units and primer < seen:
        return primer + TOKENS_PER_SECOND * units // vocabulary.UNITS_PER_SECOND
    total = options.num_tokens or seen
    if primer >= min(total, seen):
        counted = "" if units else f" --num_tokens={total} counts them,"
        raise UserError(
            f"The primer is {primer} tokens,{counted} and the model sees {seen}; ask for more, or "
            "less of it with --primer_seconds"
        )
    return total
