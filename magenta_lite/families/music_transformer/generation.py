"""Generation with a Music Transformer: sampling, continuation, accompaniment and infilling."""

from __future__ import annotations

import collections
import copy
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.converters.chorale import VOICES
from magenta_lite.converters.melody_tracks import melodic_tracks
from magenta_lite.converters.writing import add_marker
from magenta_lite.errors import UserError
from magenta_lite.families.music_transformer import chorale_infilling, infilling
from magenta_lite.families.music_transformer.options import WRITTEN_MELODY
from magenta_lite.modeling.chunked_decoding import first_seconds, generate_tokens
from magenta_lite.modeling.particles import complete

if TYPE_CHECKING:
    from magenta_lite.families.music_transformer.model import MusicTransformer
    from magenta_lite.families.music_transformer.options import MusicTransformerOptions

ROUNDING = 1e-6  # seconds
TOKENS = 1024  # default length of a piece
MELODY_MULTIPLE = 100  # steps; melodies are padded to a multiple, so that few shapes are compiled
MATCH_TOLERANCE = 0.1  # seconds between a note and the melody note that it matches


def generate(model: MusicTransformer, options: MusicTransformerOptions, converter: Any) -> list:
    """Returns NoteSequences, `options.num_outputs` for each input.

    Raises:
        UserError: If an input has no notes, or an option is invalid.
    """
    options.check(converter)
    if options.mode == "infill":
        is_chorale = converter.config.kind == "chorale"
        filled = chorale_infilling.filled if is_chorale else infilling.filled
        gaps = options.gaps()
        return [piece for gap in gaps for piece in filled(model, gap, options, converter)]
    if options.mode == "harmonize":
        return _harmonies(model, converter, options)
    total = options.num_tokens
    if total is None:
        total = model.sizes.positions if options.mode == "accompany" else TOKENS
    if total > model.max_length and not model.slides and model.position_table is not None:
        raise UserError(
            f"--num_tokens={total} must be at most model.positions={model.sizes.positions} for "
            "accompaniments by a model that learned its positions; give that, or a shorter melody"
        )
    if options.mode == "accompany":
        return _accompaniments(model, converter, options, total)
    primers = [[]]
    if options.mode == "continue":
        span = model.attention_span
        primers = [_primer(converter, *named, options, total, span) for named in options.inputs]
    return [
        _music(converter, row, primer, options)
        for primer in primers
        for row in generate_tokens(model, primer, options, total)
    ]


def _harmonies(model, converter, options) -> list:
    """Returns NoteSequences with the given voices of the inputs, and new other voices."""
    sequences = []
    for name, song in options.inputs:
        given = converter.given_voices(name, song, options.voices)
        print(f"Given: {', '.join(given.names)} of {name}, {len(given.ids)} steps")
        if given.ids.size > model.max_length:
            raise UserError(
                f"{name} has {given.ids.size:,} tokens, and the model writes at most "
                f"{model.max_length:,}; give a shorter piece"
            )
        pieces = complete(model, given.ids.ravel(), options, options.particles, VOICES)
        decoded = (_decoded(converter, tokens, options) for tokens in pieces)
        sequences += [given.put_into(piece) for piece in decoded]
    return sequences


def _accompaniments(model, converter, options, total: int) -> list:
    """Returns NoteSequences of melodies with generated accompaniments."""
    melodies = [(name, _melody_ids(converter, name, song)) for name, song in options.inputs]
    if options.primer_melody:
        ids = WRITTEN_MELODY.ids_of_text(options.primer_melody)
        piece = WRITTEN_MELODY.decode(ids, options.qpm)
        melodies = [("--primer_melody", converter.melody_ids(piece))]
    sequences = []
    for name, ids in melodies:
        if not ids:
            raise UserError(f"{name} has no melody to accompany")
        seconds = len(ids) / converter.melody.steps_per_second
        if len(ids) > model.rules.input_steps:
            print(
                f"{name}: the melody lasts {seconds:.0f} s, and the model has learned from "
                f"{converter.config.max_seconds:.0f} s at most",
                file=sys.stderr,
            )
        padded = np.pad(np.array(ids, np.int32), [0, -len(ids) % MELODY_MULTIPLE])
        melody = converter.melody.decode(ids) if options.drop_melody else None
        for row in generate_tokens(model, [], options, total, padded):
            piece = _decoded(converter, row, options)
            sequences.append(_without(piece, melody) if options.drop_melody else piece)
    return sequences


def _melody_ids(converter, name: str, song) -> list[int]:
    """Returns the ids of the melody of a song, and prints its track."""
    tracks = melodic_tracks(song)
    if len(tracks) > 1:
        song = tracks[0].alone(song)
    ids = converter.melody_ids(song)
    played = sum(note.velocity > 0 and not note.is_drum for note in song.notes)
    notes = len(converter.melody.decode(ids).notes)
    if ids:
        print(f"Melody: {notes} of {played} notes of {tracks[0].name} of {name}")
    return ids


def _without(piece, melody):
    """Returns a NoteSequence without the notes of the melody."""
    wanted = collections.defaultdict(list)
    for note in melody.notes:
        wanted[note.pitch].append(note.start_time)
    rest, tolerance = copy.deepcopy(piece), MATCH_TOLERANCE + ROUNDING
    del rest.notes[:]
    for note in piece.notes:
        near = [t for t in wanted[note.pitch] if abs(t - note.start_time) <= tolerance]
        if near:
            wanted[note.pitch].remove(near[0])
        else:
            rest.notes.append(note)
    return rest


def _primer(converter, name: str, piece: Any, options, total: int, span: int) -> list[int]:
    """Returns the tokens of a primer, cut to half the attention span `span`, with a notice."""
    from note_seq import sequences_lib

    report = Report()
    piece = first_seconds(name, piece, options)
    ids = _without_end(converter, converter.ids_of(piece, report=report))
    if not ids:
        raise UserError(f"{name} has nothing to go on from: {report.table()}")
    if len(ids) >= total:
        raise UserError(
            f"The first {piece.total_time:.1f} s of {name} are {len(ids)} tokens, and "
            f"--num_tokens={total} counts them; ask for more, or less of the primer with "
            "--primer_seconds"
        )
    room, length = span // 2, piece.total_time
    while len(ids) > room:
        length *= 0.9 * room / len(ids)
        end = piece.total_time
        part = sequences_lib.extract_subsequence(piece, end - length, end)
        ids = _without_end(converter, converter.ids_of(part))
    if length < piece.total_time:
        print(
            f"{name}: the model sees {span} tokens at once, so it goes on from the last "
            f"{length:.1f} s of the primer",
            file=sys.stderr,
        )
    return ids


def _without_end(converter, ids: list[int]) -> list[int]:
    return [id for id in ids if id != converter.rules.end]


def _decoded(converter, tokens, options):
    """Returns the NoteSequence of tokens (T,)."""
    hung = {"max_hung_note": options.max_hung_note} if options.max_hung_note else {}
    return converter.decode(tokens, options.qpm, options.programs or None, **hung)


def _music(converter, tokens, primer: list[int], options):
    """Returns the NoteSequence of tokens (T,), without the primer if `only_new` is set."""
    piece = _decoded(converter, tokens, options)
    if not primer:
        return piece
    start = converter.seconds(primer, options.qpm)
    if not options.only_new:
        add_marker(piece, "continuation", start)
        return piece
    new = copy.deepcopy(piece)
    del new.notes[:]
    for note in piece.notes:
        if note.start_time > start - ROUNDING:
            added = new.notes.add()
            added.CopyFrom(note)
            added.start_time = max(note.start_time - start, 0.0)
            added.end_time -= start
    new.total_time = max((note.end_time for note in new.notes), default=0.0)
    return new
