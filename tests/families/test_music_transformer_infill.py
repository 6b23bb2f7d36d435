"""A Music Transformer fills in gaps of performances: training, generation, evaluation."""

import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.music_transformer import infilling
from magenta_lite.families.music_transformer.losses import token_nll
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.modeling import decoding
from magenta_lite.modeling.sampling import Sampler

CONTEXT = 256
SIZES = ("layers=1", "hidden_size=16", "key_size=16", "filter_size=16", "heads=2", "dropout=0")
CONFIG = get_config("music_transformer_tiny", [f"model.{size}" for size in SIZES])
CONVERTER = build_converter(CONFIG.converter)
GAPS, CODEC = CONVERTER.gaps, CONVERTER.codec


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(1)
    model = build_model(CONFIG, CONVERTER)
    for weight in model.weights:
        weight.assign(weight + np.random.default_rng(2).normal(0, 0.3, weight.shape))
    return model


def song(bars=8):
    """Returns a song of two hands and a drum, with a pedal; bars last 2 s."""
    piece = music_pb2.NoteSequence()
    piece.tempos.add(qpm=120)
    for bar in range(bars):
        for quarter in range(4):
            start = 2 * bar + 0.5 * quarter
            for number, pitch in enumerate((72 + quarter + bar % 3, 48 + bar % 5, 42)):
                length = 1.2 if (number, quarter) == (1, 3) else 0.4
                piece.notes.add(
                    pitch=pitch,
                    velocity=70 + 10 * number,
                    start_time=start,
                    end_time=start + length,
                    instrument=9 if number == 2 else number,
                    is_drum=number == 2,
                )
        for time, value in ((0.1, 127), (1.9, 0)):
            piece.control_changes.add(
                time=2 * bar + time, control_number=64, control_value=value, instrument=0
            )
    piece.total_time = max(note.end_time for note in piece.notes)
    return piece


def options(**changes):
    base = {"mode": "infill", "inputs": (("song.mid", song()),), "bars": "3-4", "seed": 1}
    return MusicTransformerOptions(**base | {"num_outputs": 3} | changes)


def test_everything_else_stays_to_the_note(model):
    given, asked = song(), options()
    stays = [n.SerializeToString() for n in given.notes if n.is_drum or not 4 <= n.start_time < 8]
    pieces = model.generate(asked, CONVERTER)
    for piece in pieces:
        found = [n.SerializeToString() for n in piece.notes]
        assert found[: len(stays)] == stays and len(found) > len(stays)
        added = piece.notes[len(stays) :]
        assert all(4 <= n.start_time < n.end_time <= 8 for n in added)
        for note in added:  # in the track nearest to it: the hands meet at 61 or so
            assert note.instrument == (0 if note.pitch > 61 else 1)
        pressed = [c.time for c in piece.control_changes if c.control_value]
        assert pressed == [0.1, 2.1, 8.1, 10.1, 12.1, 14.1]
        assert piece.total_time == given.total_time
    assert len({str(piece.notes) for piece in pieces}) == 3


def test_what_fills_a_gap_has_its_length_and_cached_steps_are_the_whole_pass(model):
    (gap,) = options().gaps()
    primer = infilling.primer_of(gap, CONVERTER, CONTEXT)
    assert (primer[0], primer[-1]) == (GAPS.gap, GAPS.middle)
    rows, scores = decoding.sample(model, primer, 3, CONTEXT, 1, Sampler(), 400)
    for row, score in zip(rows.numpy(), scores.numpy(), strict=True):
        new = np.trim_zeros(row[len(primer) :], "b").tolist()
        whole = len(new) < CONTEXT - len(primer)
        assert not whole or (new[-1] == GAPS.end and CODEC.steps(new) == 400)
        assert CODEC.steps(new) <= 400
        sounding = np.zeros(CODEC.size)
        for id in new:
            if CODEC.note_on[0] <= id <= CODEC.note_on[1]:
                sounding[id] += 1
            elif CODEC.note_off[0] <= id <= CODEC.note_off[1]:
                sounding[id - CODEC.note_off[0] + CODEC.note_on[0]] -= 1
            assert sounding.min() >= 0 and sounding.max() <= 1
        assert not whole or not sounding.any()
        logits = model({"events": tf.constant(row[None])})[0].numpy()
        expected, state = 0.0, decoding.state_after(model.grammar, tf.constant([primer]))
        conditioning = model.condition(400, 1)[1]
        for place, id in enumerate(new, start=len(primer)):
            allowed = model.grammar.allowed(state, conditioning)[0].numpy()
            expected += float(tf.nn.log_softmax(np.where(allowed, logits[place], -1e30))[id])
            state = model.grammar.next_state(state, tf.constant([id]))
        assert score == pytest.approx(expected, abs=1e-2, rel=1e-4)


def test_generation_sees_gaps_as_training_shows_them():
    (gap,) = options().gaps()
    primer = infilling.primer_of(gap, CONVERTER, 2048)
    ids = np.array(CONVERTER.ids_of(song()))
    filled, _, count = GAPS.both_ways(ids, 2048, 400, 800)
    after, before = (filled.tolist().index(mark) for mark in (GAPS.gap_end, GAPS.before))
    there = primer.index(GAPS.gap_end), primer.index(GAPS.before)
    assert primer[there[0] : there[1]] == filled[after:before].tolist()
    assert CODEC.steps(primer[there[1] :]) == CODEC.steps(filled[before:-count]) == 400


def test_marks_are_told_and_not_predicted(model):
    ids = np.array(CONVERTER.ids_of(song(20)))[: CONTEXT - 32]
    made = GAPS.rearranged(ids, CONTEXT, np.random.default_rng(0))
    counts = model.counted(tf.constant(made[None])).numpy()[0]
    marks = (GAPS.gap, GAPS.gap_end, GAPS.before, GAPS.middle)
    assert np.flatnonzero(counts == 0).tolist() == np.flatnonzero(np.isin(made, marks)).tolist()


def test_evaluation_compares_gaps_with_what_goes_on(model):
    ids = np.array(CONVERTER.ids_of(song(60)))
    rows = [ids[start : start + 2 * CONTEXT] for start in range(0, len(ids), CONTEXT)]
    lengths = np.array([len(row) for row in rows], np.int32)
    padded = np.stack([np.pad(row, [0, 2 * CONTEXT - len(row)]) for row in rows])
    measured = model.measure_gaps(Examples(padded, lengths, None))
    totals, tokens = np.zeros(2), 0
    for row in rows:
        if len(row) < CONTEXT:
            continue
        steps = np.cumsum([CODEC.steps([id]) for id in row.tolist()])
        middle = len(row) // 2
        span = int(steps[middle - CONTEXT // 8]), int(steps[middle + CONTEXT // 8])
        *both, count = GAPS.both_ways(row, CONTEXT, *span)
        tokens += count
        for way, events in enumerate(both):
            nll, _ = token_nll(events[None], model({"events": tf.constant(events[None])}))
            totals[way] += float(tf.reduce_sum(nll[0, -count:]))
    assert tokens > CONTEXT
    found = [measured["nll_infilled"], measured["nll_continued"]]
    np.testing.assert_allclose(found, totals / tokens, rtol=1e-4)
    assert set(measured) <= set(type(model).metric_meanings)


def only_drums():
    piece = song(1)
    kept = [note for note in piece.notes if note.is_drum]
    del piece.notes[:]
    piece.notes.extend(kept)
    return piece


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bars": "9-8"}, r"^--bars=9-8: song.mid has 9 bars; give the first and the last"),
        ({"bars": ""}, "--bars=: song.mid has 9 bars"),
        ({"inputs": ()}, "needs --input=FILE"),
        ({"tracks": ("bass",)}, "--tracks means nothing"),
        ({"num_tokens": 9}, "leave out --num_tokens"),
        ({"mode": "sample", "inputs": ()}, "--bars and --tracks say what --mode=infill rewrites"),
        ({"inputs": (("drums.mid", only_drums()),), "bars": "1"}, "drums.mid has no notes but"),
        ({"inputs": (("long.mid", song(40)),), "bars": "2-39"}, r"bars 2-39 may take \d+ tokens"),
    ],
)
def test_wrong_requests_are_told_in_one_line(model, changes, message):
    with pytest.raises(UserError, match=message) as error:
        model.generate(options(**changes), CONVERTER)
    assert "\n" not in str(error.value)


def test_without_room_for_all_new_notes_the_rest_is_silent(capsys):
    (gap,) = options().gaps()
    ids = [CODEC.velocity_id + 12, CODEC.note_on[0] + 39, *CODEC.shifts(100)]
    (note,) = infilling.new_notes(gap, np.array(ids), CONVERTER)
    assert (note.start, note.end, note.pitch, note.key[0]) == (4.0, 5.0, 60, 1)
    assert "bars 3-4: no tokens were left for the last 3.0 s" in capsys.readouterr().err


def test_only_models_that_learned_it_have_the_mode():
    assert "bars" in MusicTransformerOptions.names(CONVERTER)
    plain = build_converter(get_config("music_transformer_tiny", original=True).converter)
    assert not {"bars", "infill"} & {
        *MusicTransformerOptions.names(plain),
        *MusicTransformerOptions.modes(plain),
    }
    with pytest.raises(UserError, match=r"has: sample.*trained with --set converter.infill=0.5"):
        options().check(plain)
