"""Generation with a MuseNet: sampling, continuation and accompaniment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.controls import is_control
from magenta_lite.converters.musenet.converter import families_of
from magenta_lite.converters.writing import add_marker
from magenta_lite.errors import UserError
from magenta_lite.families.musenet.critic import judged
from magenta_lite.families.musenet.grammar import Constraints, given_notes
from magenta_lite.families.musenet.infilling import new_notes, primer_of
from magenta_lite.modeling.chunked_decoding import first_seconds, generate_tokens

if TYPE_CHECKING:
    from magenta_lite.converters.musenet.converter import MuseNetConverter
    from magenta_lite.families.musenet.model import MuseNet
    from magenta_lite.families.musenet.options import MuseNetOptions
    from magenta_lite.modeling.gaps import Gap

TOKENS_PER_SECOND = 300  # upper bound


def generate(model: MuseNet, options: MuseNetOptions, converter: MuseNetConverter) -> list:
    """Returns NoteSequences, `options.num_outputs` for each input.

    Raises:
        UserError: If an input has no notes, or an option is invalid.
    """
    options.check(converter)
    if options.rank == "critic" and options.candidates > 1 and not model.objective.critic:
        raise UserError(
            "This model was trained without a critic (objective.critic=0); rank candidates with "
            "--rank=likelihood"
        )
    if options.mode == "infill":
        return [
            piece for gap in options.gaps() for piece in _filled(model, gap, options, converter)
        ]
    sequences = []
    for name, start in _inputs(converter, options):
        notes = converter.notes_of(start)
        constraints = _constraints(options, name, notes)
        # The requested style, or that of the input.
        style = options.style or converter.style_of(start)
        told = options.control_ids()
        primer = converter.prefix(style, _families(options, notes)) + told
        constraints = constraints._replace(controls=len(told) or None)
        if options.mode == "continue":
            primer += codec.ids(notes)
        total = _total(model, options, len(primer), constraints.units)
        describe = _seconds_of(constraints.units) if constraints.units else None
        rows = _rows(model, primer, options, total, constraints, describe)
        pieces = [converter.decode(row, options.qpm) for row in rows]
        if options.mode == "continue":
            for piece in pieces:
                add_marker(piece, "continuation", converter.seconds(primer, options.qpm))
        sequences += pieces
    return sequences


def _filled(model, gap: Gap, options, converter) -> list:
    """Returns the pieces with a gap filled in."""
    primer, total, constraints = primer_of(gap, options, converter, model.context_length)
    rows = _rows(model, primer, options, total, constraints)
    return [gap.filled(new_notes(gap, row[len(primer) :])) for row in rows]


def _rows(model, primer, options, total, constraints, describe=None):
    """Returns the best of the candidates that follow a primer, int (N, T)."""
    expanded = options.replace(num_outputs=options.num_outputs * options.candidates)
    rows = generate_tokens(model, primer, expanded, total, constraints, describe)
    return _best(model, rows, options, constraints)


def _best(model, rows, options, constraints: Constraints):
    """Returns the best candidates by score, the best first."""
    if options.candidates == 1:
        return rows
    if options.rank == "critic":  # it learned from music without controls
        scores, _ = judged(model, rows[:, ~is_control(rows[0])], constraints)
    else:
        _, scores = judged(model, rows, constraints)
    order = np.argsort(-scores)
    best = order[: options.num_outputs]
    kept = ", ".join(f"{scores[i]:.3f}" for i in best)
    mean = f"{scores.mean():.3f}"
    print(f"Of {len(rows)} candidates by {options.rank}: {kept}; mean {mean}", file=sys.stderr)
    return rows[best]


def _families(options, notes) -> set[str]:
    """Returns the families of instruments that play: those requested, and those of the input."""
    names = set(options.instruments)
    requested = {i.family for i in vocabulary.INSTRUMENTS if {i.name, i.family} & names}
    given = set(families_of(notes))
    return requested | given if options.mode == "accompany" else requested or given


def _constraints(options, name: str, notes) -> Constraints:
    """Returns the constraints of a piece that continues or accompanies notes."""
    accompanies, requested = options.mode == "accompany", options.instruments
    limited = requested and (options.strict or accompanies)
    allowed = vocabulary.played_by(requested) if limited else np.ones(vocabulary.SIZE, bool)
    guidance = None if options.guidance == 1 else options.guidance
    if not accompanies:
        units = round((options.minutes or 0) * 60 * vocabulary.UNITS_PER_SECOND)
        return Constraints(units, allowed, guidance)
    no_notes = vocabulary.played_by([])
    others = allowed & ~vocabulary.played_by({note.instrument.name for note in notes}) | no_notes
    if np.array_equal(others, no_notes):
        raise UserError(f"All of --instruments play in {name} already; ask others to join")
    return Constraints(max(note.end for note in notes), others, guidance, given_notes(notes))


def _seconds_of(units: int):
    """Returns a function that describes the progress of the shortest piece, of length `units`."""
    rate = vocabulary.UNITS_PER_SECOND

    def describe(state) -> str:
        return f"{int(min(state.grammar_state.units)) / rate:.0f} of {units / rate:.0f} s"

    return describe


def _inputs(converter, options) -> list:
    """Returns pairs of a name and the NoteSequence to continue, an empty one for sampling."""
    from note_seq.protobuf import music_pb2

    if options.mode == "sample":
        return [("", music_pb2.NoteSequence())]
    inputs = []
    for name, piece in options.inputs:
        report = Report()
        if options.mode == "continue":
            piece = first_seconds(name, piece, options)
        if not converter.notes_of(piece, report):
            raise UserError(f"{name} has nothing to go on from: {report.table()}")
        inputs.append((name, piece))
    return inputs


def _total(model, options, primer: int, units: int) -> int:
    """Returns the maximum number of tokens. Raises: UserError if the primer leaves no room."""
    context = model.sizes.positions
    if primer >= context:
        raise UserError(
            f"The primer is {primer} tokens, and the model sees {context}; shorten it with "
            "--primer_seconds"
        )
    if units:
        return primer + TOKENS_PER_SECOND * units // vocabulary.UNITS_PER_SECOND
    total = options.num_tokens or context
    if primer >= total:
        raise UserError(
            f"The primer is {primer} tokens, and --num_tokens={total} counts them; raise it, or "
            "shorten the primer with --primer_seconds"
        )
    return total
