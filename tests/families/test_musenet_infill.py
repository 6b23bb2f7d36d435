"""A MuseNet fills in gaps: training, generation, evaluation."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.musenet import codec, infill, vocabulary
from magenta_lite.converters.musenet.converter import PREFIX, MuseNetConverterConfig
from magenta_lite.converters.musenet.rules import MuseNetRules, tables
from magenta_lite.converters.musenet.vocabulary import BEFORE, GAP, GAP_END, MIDDLE
from magenta_lite.data.collections import Examples
from magenta_lite.errors import UserError
from magenta_lite.families.musenet import evaluation, generation, infilling
from magenta_lite.families.musenet import model as network
from magenta_lite.families.musenet.config import MuseNetConfig, MuseNetObjective
from magenta_lite.families.musenet.grammar import MuseNetGrammar
from magenta_lite.families.musenet.options import MuseNetOptions
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import decoding
from magenta_lite.modeling.gaps import Gap
from magenta_lite.modeling.sampling import Sampler

CONTEXT = 256
CONVERTER = build_converter(
    MuseNetConverterConfig(CONTEXT, merge_doubled=True, places_by_time=True, infill=0.5)
)


@functools.cache
def untrained():
    """Returns a model that is not changed, so that it is compiled once."""
    tf.keras.utils.set_random_seed(1)
    sizes = MuseNetConfig(layers=1, hidden_size=32, heads=2, positions=CONTEXT, dropout=0.0)
    rules = MuseNetRules()
    model = network.MuseNet(rules, sizes, MuseNetObjective(), CONTEXT, fills_gaps=True)
    for weight in model.weights:
        weight.assign(weight + np.random.default_rng(2).normal(0, 0.1, weight.shape))
    return model


def song(bars=12, over=True):
    """Returns a song at 96 quarters a minute, whose bars last 2.5 s: a lead, a bass, drums.

    One note of the bass lasts from each odd bar into the next one, with `over`.
    """
    sequence = music_pb2.NoteSequence(filename="rock/song.mid")
    sequence.tempos.add(qpm=96)
    names = ("Solo Guitar", "Bass", "Kit")
    for number, name in enumerate(names):
        sequence.instrument_infos.add(instrument=number, name=name)
    for bar in range(bars):
        for eighth in range(8):
            start = 2.5 * bar + 0.3125 * eighth
            for number, (program, pitch, length) in enumerate(
                ((29, 60 + 3 * (eighth % 4) + bar % 5, 0.3), (33, 36 + bar % 7, 0.25), (0, 42, 0.1))
            ):
                if number == 1 and eighth % 4:
                    continue
                if number == 1 and eighth == 4 and bar % 2 and over and bar < bars - 1:
                    length = 2.0
                sequence.notes.add(
                    pitch=pitch,
                    velocity=90 + 5 * number,
                    start_time=start,
                    end_time=start + length,
                    program=program,
                    instrument=number,
                    is_drum=number == 2,
                )
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


GRAMMAR = MuseNetGrammar(MuseNetRules())
allowed, next_state = graph_function(GRAMMAR.allowed), graph_function(GRAMMAR.next_state)


def options(**changes):
    base = {"mode": "infill", "inputs": (("song.mid", song()),), "bars": "5-6", "seed": 1}
    return MuseNetOptions(**base | {"num_outputs": 3} | changes)


def notes_of(sequence):
    return [note.SerializeToString() for note in sequence.notes]


# Bars 5 and 6 last from 10 to 15 s.
@pytest.mark.parametrize("tracks", [(), ("bass",), ("melody", "drums")])
def test_everything_else_stays_to_the_note(tracks):
    given = song()
    asked = options(inputs=(("song.mid", given),), tracks=tracks)
    asked.check(CONVERTER)
    numbers = {(): {0, 1, 2}, ("bass",): {1}, ("melody", "drums"): {0, 2}}[tracks]
    gone = [n for n in given.notes if 10 <= n.start_time < 15 and n.instrument in numbers]
    stays = [n.SerializeToString() for n in given.notes if n not in gone]
    pieces = generation.generate(untrained(), asked, CONVERTER)
    assert len(pieces) == 3
    for piece in pieces:
        found = notes_of(piece)
        assert found[: len(stays)] == stays and len(found) > len(stays) + 3
        added = piece.notes[len(stays) :]
        assert all(10 <= n.start_time < n.end_time <= 15 for n in added)
        keys = {(n.instrument, n.program, n.is_drum) for n in added}
        assert keys <= {(n.instrument, n.program, n.is_drum) for n in gone}
        assert all(n.velocity == 90 + 5 * n.instrument for n in added)
        sounding = {}
        for note in sorted(piece.notes, key=lambda n: (n.instrument, n.pitch, n.start_time)):
            key = note.instrument, note.pitch
            assert note.start_time >= sounding.get(key, 0.0)
            sounding[key] = note.end_time
        assert piece.tempos == given.tempos
        assert piece.instrument_infos == given.instrument_infos
        assert piece.total_time == given.total_time
    assert len({tuple(notes_of(piece)) for piece in pieces}) == 3


def primer(given, **changes):
    asked = options(inputs=(("song.mid", given),), **changes)
    (gap,) = asked.gaps()
    return infilling.primer_of(gap, asked, CONVERTER, CONTEXT)


@pytest.mark.parametrize("tracks", [(), ("bass",)])
def test_what_fills_a_gap_has_its_length_and_cached_steps_are_the_whole_pass(tracks):
    ids, total, constraints = primer(song(), tracks=tracks)
    assert total <= CONTEXT and constraints.span.length == 500
    model = untrained()
    rows, scores = decoding.sample(model, ids, 3, total, 1, Sampler(), constraints)
    for row, score in zip(rows.numpy(), scores.numpy(), strict=True):
        row = row[: len(np.trim_zeros(row, "b"))]
        new = row[len(ids) :]
        middle = codec.decode(new)
        assert tables().units[new].sum() == 500 and new[-1] == vocabulary.END
        assert not middle.hung and not middle.unmatched
        assert not tracks or {note.instrument.name for note in middle.notes} == {"bass"}
        places = (x.numpy()[0] for x in model.places_of(row[None], constraints))
        events = np.stack([row, *places], axis=1).astype(np.int32)
        logits = model({"events": tf.constant(events[None])})[0].numpy()
        state, expected = model.grammar.initial_state(1), 0.0
        for place, id in enumerate(row.tolist()):
            if place >= len(ids):
                may = allowed(state, constraints)[0].numpy()
                expected += float(tf.nn.log_softmax(np.where(may, logits[place], -1e30))[id])
            state = next_state(state, tf.constant([id]))
        assert score == pytest.approx(expected, abs=1e-2, rel=1e-4)


def test_generation_knows_the_same_places_as_training():
    given = song(over=False)
    ids, _, constraints = primer(given)
    piece = np.array(CONVERTER.ids_of(given))
    events = np.stack([piece, *CONVERTER.places_of(piece)], axis=1)
    events = np.concatenate([np.zeros((PREFIX, 3), int), events])
    filled, continued, count = infill.both_ways(events, PREFIX, CONTEXT, 1000, 1500)
    np.testing.assert_array_equal(continued[-count:], filled[-count:])
    assert len(filled) == len(continued) == CONTEXT
    row = np.append(ids, filled[-count:, 0])
    part, countdown = (x.numpy()[0] for x in untrained().places_of(row[None], constraints))
    ours = np.stack([row, part, countdown], axis=1)
    ends, of_filled = ids.index(GAP_END), filled[:, 0].tolist()
    there = of_filled.index(MIDDLE)
    for mine, theirs, apart in (
        # In training, a wait of the gap has the places of the token before that the piece has.
        (ours[PREFIX : ends + 1], filled[PREFIX : of_filled.index(GAP_END) + 1], 1),
        (ours[ends + 1 : ids.index(BEFORE)][:40], filled[of_filled.index(GAP_END) + 1 :][:40], 0),
        (ours[-count - 40 :], filled[there + 2 - 40 :], 0),
    ):
        assert len(mine) > 2
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=apart)


def test_without_room_for_all_new_notes_the_rest_is_silent(capsys):
    (gap,) = options().gaps()
    bass = vocabulary.on_id(vocabulary.BY_NAME["bass"], 40, 80)
    (note,) = infilling.new_notes(gap, np.array([*vocabulary.wait_ids(100), bass, 4000]))
    assert (note.start, note.key) == (11.0, (1, 33, False)) and note.end < 12
    assert "bars 5-6: no tokens were left for the last 3.7 s" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"song.mid: bars 2-12 may take \d+ tokens, and the model"):
        primer(song(), bars="2-12")
    primer(song(), bars="2-4", tracks=("bass",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bars": "9-8"}, r"^--bars=9-8: song.mid has 12 bars; give the first and the last"),
        ({"bars": "5-13"}, "song.mid has 12 bars"),
        ({"bars": "0"}, "song.mid has 12 bars"),
        ({"bars": "x"}, "--bars=x: song.mid has 12 bars"),
        ({"bars": ""}, "--bars=: song.mid has 12 bars"),
        ({"inputs": ()}, "needs --input=FILE"),
        ({"tracks": ("bas",)}, "Unknown track of song.mid 'bas'. Did you mean bass"),
        ({"tracks": ("harp",)}, "'harp'. Known: bass, drums, guitar, kit, melody, solo guitar."),
        ({"minutes": 1.0}, "leave out --minutes"),
        ({"mode": "sample", "inputs": ()}, "--bars and --tracks say what --mode=infill rewrites"),
    ],
)
def test_wrong_bars_and_tracks_are_errors(changes, message):
    with pytest.raises(UserError, match=message):
        options(**changes).check(CONVERTER)


def test_only_models_that_learned_it_have_the_mode():
    assert {"bars", "tracks"} <= set(MuseNetOptions.names(CONVERTER))
    former = build_converter(MuseNetConverterConfig())
    assert not {"bars", "tracks", "infill"} & {
        *MuseNetOptions.names(former),
        *MuseNetOptions.modes(former),
    }
    with pytest.raises(UserError, match=r"has: sample.*trained with --set converter.infill=0.5"):
        options().check(former)


def test_marks_are_not_predicted_and_gaps_are_not_stretched():
    rng = np.random.default_rng(0)
    ids = np.array(CONVERTER.ids_of(song()))
    events = np.stack([ids, *CONVERTER.places_of(ids)], axis=1)[:CONTEXT]
    front = np.array([[id, *events[0, 1:]] for id in CONVERTER.prefix(None, ["bass"])])
    rows = [np.concatenate([front, events])[:CONTEXT] for _ in range(2)]
    rows[1] = infill.rearranged(rows[1], PREFIX, CONTEXT, rng)
    batch = {"events": tf.constant(np.stack(rows).astype(np.int32))}
    counts = network.counted(batch["events"]).numpy()
    given = [
        *range(PREFIX),
        *np.flatnonzero(np.isin(rows[1][:, 0], (GAP, GAP_END, BEFORE, MIDDLE))),
    ]
    given.append(given[-1] + 1)  # the instrument set
    assert np.flatnonzero(counts[1] == 0).tolist() == given
    assert np.flatnonzero(counts[0] == 0).tolist() == [*range(PREFIX)]
    draws = {"told": tf.ones([2, 3]), "played": tf.constant([[0.5, 0.99]] * 2)}
    varied = untrained().varied(batch | draws)["events"].numpy()[..., 0]
    np.testing.assert_array_equal(varied[1], rows[1][:, 0])
    assert (varied[0] != rows[0][:, 0]).sum() > 20


def test_evaluation_compares_gaps_with_what_goes_on():
    model, rows = untrained(), CONVERTER.encode(song(40)).examples
    lengths = np.array([len(row) for row in rows], np.int32)
    padded = np.stack([np.pad(row, [[0, max(lengths) - len(row)], [0, 0]]) for row in rows])
    measured = model.measure_gaps(Examples(padded, lengths, None))
    totals, tokens = np.zeros(2), 0
    for row in rows:
        if len(row) < CONTEXT:
            continue
        times = np.cumsum(tables().units[row[PREFIX:, 0]])
        middle = len(times) // 2
        start, end = times[middle - CONTEXT // 8], times[middle + CONTEXT // 8]
        *both, count = infill.both_ways(row.astype(int), PREFIX, CONTEXT, int(start), int(end))
        tokens += count
        for i, events in enumerate(both):
            log_p = tf.nn.log_softmax(model({"events": tf.constant(events[None], tf.int32)}))[0]
            totals[i] -= np.sum(
                [log_p[t, events[t, 0]] for t in range(len(events) - count, len(events))]
            )
    assert tokens > CONTEXT
    found = [measured["nll_infilled"], measured["nll_continued"]]
    np.testing.assert_allclose(found, totals / tokens, rtol=1e-4)
    assert set(measured) <= set(type(model).metric_meanings)
    plain = dataclasses.replace(CONVERTER.config, infill=0.0)
    config = get_config("musenet_nano")
    config = dataclasses.replace(config, converter=plain)
    assert not network.MuseNet.for_config(config, build_converter(plain)).fills_gaps


def test_gaps_that_do_not_fit_into_the_context_are_left_out():
    """In a moment with 160 notes a span of its tokens is longer than it looks."""
    piece = music_pb2.NoteSequence()
    for moment in range(4):
        for instrument, program in enumerate((0, 29)):
            for pitch in range(20, 100):
                note = piece.notes.add(pitch=pitch, velocity=80, instrument=instrument)
                note.start_time, note.end_time = moment, moment + 0.5
                note.program = program
    piece.total_time = 4
    rows = CONVERTER.encode(piece).examples
    lengths = np.array([len(row) for row in rows], np.int32)
    events = np.stack([np.pad(row, [[0, lengths.max() - len(row)], [0, 0]]) for row in rows])
    measured = list(evaluation._gaps(Examples(events, lengths, None), CONTEXT))
    assert len(measured) < (lengths >= CONTEXT).sum()


def test_a_piece_without_playable_notes_has_gaps_too():
    piece = music_pb2.NoteSequence()
    piece.notes.add(pitch=0, velocity=80, start_time=0, end_time=4)  # pianos lack it
    piece.total_time = 4
    gap = Gap.of("low.mid", piece, "1", ())
    ids, total, _ = infilling.primer_of(gap, MuseNetOptions(mode="infill"), CONVERTER, CONTEXT)
    assert len(ids) < total
    assert gap.filled([]).total_time == 4
