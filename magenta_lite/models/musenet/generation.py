"""What `generate` does with a MuseNet: from nothing, or going on, in a style and for a band."""

from __future__ import annotations

import numpy as np

from magenta_lite.encoders.base import Report
from magenta_lite.encoders.musenet import vocabulary
from magenta_lite.encoders.musenet.encoder import families_of
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.models.legality import BandPlan
from magenta_lite.models.long_writing import written

MODES = ("sample", "continue")
OPTIONS = (
    "num_tokens",
    "style",
    "instruments",
    "strict",
    "minutes",
    "guidance",
    "primer_seconds",
    "top_k",
    "top_p",
    "min_p",
)
TOKENS_PER_SECOND = 300  # more than any music has
LONGEST = 15.0  # minutes


def generate(model, encoder, request) -> list:
    """Returns NoteSequences, `request.num_outputs` of each input.

    Args:
        model: A trained model.
        encoder: Its encoder.
        request: A `GenerateRequest`.

    Raises:
        UserError: If the mode's input is missing or holds no notes, or a name or number does not
            fit.
    """
    _check(request)
    names = request.instruments
    players = [i for i in vocabulary.INSTRUMENTS if {i.name, i.family} & set(names)]
    style = request.style.strip().lower().replace(" ", "_") or None
    allowed = vocabulary.played_by(names) if request.strict else np.ones(vocabulary.SIZE, bool)
    units = round((request.minutes or 0) * 60 * vocabulary.UNITS_PER_SECOND)
    sequences = []
    for start in _starts(encoder, request):
        # Who plays in a piece: as asked, or as in what it goes on from.
        families = [i.family for i in players] or families_of(encoder.notes_of(start))
        ids = [id for id in encoder.ids_of(start) if id != vocabulary.END]
        primer = encoder.prefix(style or encoder.style_of(start), families) + ids
        total = _total(model, request, len(primer))
        plan = BandPlan(units, allowed, request.guidance if request.guidance != 1 else None)
        rows = written(model, primer, request, total, plan, _seconds_of(units) if units else None)
        sequences += [encoder.decode(row, request.qpm) for row in rows]
    return sequences


def _seconds_of(units: int):
    """Returns what tells how far the shortest of some pieces is in a plan of `units`."""
    rate = vocabulary.UNITS_PER_SECOND

    def shown(writing) -> str:
        return f"{int(min(writing.state.units)) / rate:.0f} of {units / rate:.0f} s"

    return shown


def _check(request) -> None:
    known = {name for i in vocabulary.INSTRUMENTS for name in (i.name, i.family)}
    for name in request.instruments:
        if name not in known:
            raise unknown_name("instrument", name, known)
    if request.strict and not request.instruments:
        raise UserError("--strict needs --instruments, e.g. --instruments=piano,bass,drums")
    if request.minutes and request.minutes > LONGEST:
        raise UserError(f"--minutes={request.minutes:g} must be at most {LONGEST:g}")
    if request.minutes and request.num_tokens:
        raise UserError("--minutes and --num_tokens both say how long; leave one out")
    if request.mode == "sample" and request.inputs:
        raise UserError("--mode=sample reads no --input; --mode=continue goes on from it")
    if request.mode == "continue" and not request.inputs:
        raise UserError("--mode=continue needs --input=FILE, the music to go on from")


def _starts(encoder, request) -> list:
    """Returns the NoteSequences to go on from, an empty one to begin."""
    from note_seq import sequences_lib
    from note_seq.protobuf import music_pb2

    if request.mode == "sample":
        return [music_pb2.NoteSequence()]
    starts = []
    for name, piece in request.inputs:
        report = Report()
        if piece.total_time > request.primer_seconds:
            piece = sequences_lib.extract_subsequence(piece, 0, request.primer_seconds)
        if not encoder.notes_of(piece, report):
            raise UserError(f"{name} has nothing to go on from: {report.table()}")
        starts.append(piece)
    return starts


def _total(model, request, primer: int) -> int:
    """Returns how many tokens a piece may have, or raises a UserError if it has no room."""
    if request.minutes:
        return primer + round(60 * request.minutes * TOKENS_PER_SECOND)
    total = request.num_tokens or model.sizes.positions
    if primer >= min(total, model.sizes.positions):
        raise UserError(
            f"The primer is {primer} tokens, --num_tokens={total} counts them, and the model sees "
            f"{model.sizes.positions}; ask for more, or less of it with --primer_seconds"
        )
    return total
