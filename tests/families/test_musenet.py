"""MuseNet: sizes, what the network reads, cached steps, legal streams, learning."""

import collections
import dataclasses
import functools
import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from watched_rows import WatchedRows

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.converter import PREFIX, MuseNetConverterConfig
from magenta_lite.converters.musenet.places import CHORD_PLACES, PARTS, places
from magenta_lite.converters.musenet.rules import MuseNetRules
from magenta_lite.data.collections import Examples
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.musenet import critic, generation
from magenta_lite.families.musenet import model as network
from magenta_lite.families.musenet.config import MuseNetConfig, MuseNetObjective
from magenta_lite.families.musenet.evaluation import MEANINGS
from magenta_lite.families.musenet.grammar import Constraints, MuseNetGrammar
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import decoding
from magenta_lite.modeling.chunked_decoding import generate_tokens
from magenta_lite.modeling.sampling import Sampler

GOLDEN = Path(__file__).parents[1] / "golden" / "musenet"
PLACED = sorted((GOLDEN / "embeddings").glob("*.json"))
RULES = MuseNetRules(max_note=300, max_silence=200)
FRONT = [vocabulary.UNSPECIFIED, vocabulary.UNSPECIFIED, vocabulary.START]
ANYTHING = np.ones(vocabulary.SIZE, bool)
FREE = Constraints(0, ANYTHING)
GRAMMAR = MuseNetGrammar(RULES)
allowed, next_state = graph_function(GRAMMAR.allowed), graph_function(GRAMMAR.next_state)
# Millions of weights, by the fact sheets' formula.
PRESETS = {"nano": 0.46, "tiny": 1.58, "small": 30.0, "base": 180, "large": 725, "72": 2060}


def small(rules=RULES, objective=None, dtype=None, **sizes):
    keras.utils.set_random_seed(1)
    sizes = {"layers": 2, "hidden_size": 32, "heads": 2, "positions": 256, "dropout": 0.0} | sizes
    sizes, objective = MuseNetConfig(**sizes), objective or MuseNetObjective()
    return network.MuseNet(rules, sizes, objective, dtype=dtype)


@functools.cache
def untrained(**sizes):
    """Returns a model that is not changed: so what it writes with is compiled once."""
    return small(layers=1, **sizes)


@functools.cache
def shaken_once(attention):
    """Returns one that is not changed any more."""
    return shaken(small(attention=attention, stride=16, summary=3))


def shaken(model):
    """Returns the model with weights none of which is unimportant."""
    for weight in model.weights:
        if weight.dtype == "int32":
            continue
        weight.assign(weight + np.random.default_rng(2).normal(0, 0.1, weight.shape))
    return model


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_published_number_of_weights(name):
    sizes = get_config(f"musenet_{name}").model
    d, n, c = sizes.hidden_size, sizes.layers, sizes.positions
    # With a row of part and of countdown for what is not known, and the critic.
    total = d + 1 + n * (12 * d**2 + 13 * d) + 2 * d + vocabulary.SIZE * d + c * d
    total += (c + CHORD_PLACES + 2 * PARTS + 2) * d
    assert total / 1e6 == pytest.approx(PRESETS[name], rel=0.01)
    if total < 1e8:
        config = get_config(f"musenet_{name}")
        model = build_model(config, build_converter(config.converter))
        stored = 3 * config.objective.critic_pieces * model.crop + 1  # its own music
        stored = stored if config.objective.critic else 0
        shared = (38 + 128 + 12 * 2 * 9) * d  # embeddings of blocks, pitches and pitch classes
        assert model.count_params() == total + stored + shared


@pytest.mark.parametrize("path", PLACED, ids=lambda path: path.stem)
def test_moments_and_chords_are_the_recorded_ones(path):
    tree = json.loads(path.read_text())
    moment, chord = network.moments_and_chords(tf.constant([tree["tokens"]]))
    np.testing.assert_array_equal(moment[0], tree["moment"])
    np.testing.assert_array_equal(chord[0], tree["chord"])


def events_of(rows, rng):
    """Returns int (B, T, 3) of ids (B, T), with some part and countdown."""
    rows = np.asarray(rows)
    extras = rng.integers(0, PARTS + 1, (*rows.shape, 2))
    return np.concatenate([rows[..., None], extras], axis=2).astype(np.int32)


def test_72_layers_begin_with_even_odds_and_finite_gradients():
    model = small(dtype="mixed_bfloat16", layers=72, hidden_size=64, heads=2, positions=64)
    rng = np.random.default_rng(0)
    batch = {"events": tf.constant(events_of(rng.integers(1, 4096, (1, 64)), rng))}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=batch, y_pred=model(batch))
    assert float(loss) == pytest.approx(math.log(vocabulary.SIZE), abs=0.05)
    norm = tf.linalg.global_norm(tape.gradient(loss, model.trainable_weights))
    assert 0 < float(norm) < 100


def test_recomputing_gives_the_same_gradient_with_dropout():
    model = shaken(small(dropout=0.3, positions=48))
    rng = np.random.default_rng(0)
    batch = {"events": tf.constant(events_of(rng.integers(1, 4096, (2, 48)), rng))}
    batch["dropout"] = tf.constant([[1, 2], [3, 4]])

    def gradients(recompute):
        for layer in model.decoder:
            layer.recompute = recompute
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=batch, y_pred=model(batch, training=True))
        return loss, tape.gradient(loss, model.trainable_weights)

    (plain, kept), (again, computed) = gradients(False), gradients(True)
    assert float(plain) == float(again)
    for a, b, weight in zip(kept, computed, model.trainable_weights, strict=True):
        a, b = (tf.convert_to_tensor(x) for x in (a, b))
        np.testing.assert_allclose(a, b, atol=1e-6, err_msg=weight.path)


# Writing -----------------------------------------------------------------------------------------


def written(model, count, plan=FREE, seed=0, outputs=2, temperature=1.0):
    ids, score = decoding.sample(model, FRONT, outputs, count, seed, Sampler(temperature), plan)
    return ids.numpy(), score.numpy()


@pytest.mark.parametrize(
    ("units", "attention"), [(0, "full"), (700, "full"), (700, "strided"), (700, "fixed")]
)
def test_cached_steps_are_the_whole_pass(units, attention):
    """Log probabilities of what was drawn, from steps and from one pass over all."""
    model, plan = shaken_once(attention), Constraints(units, ANYTHING)
    ids, score = written(model, 140, plan)
    for row, total in zip(ids, score, strict=True):
        row = row[: len(np.trim_zeros(row, "b"))]
        elapsed = np.cumsum(network.tables().units[row])
        part = PARTS * elapsed // units if units else np.full(len(row), PARTS)
        part = np.minimum(part, PARTS - 1) if units else part
        countdown = PARTS - 1 - part if units else part
        events = np.stack([row, part, countdown], axis=1)[None].astype(np.int32)
        logits = model({"events": tf.constant(events)})[0].numpy()
        state, expected = GRAMMAR.initial_state(1), 0.0
        for t, id in enumerate(row):
            if t >= PREFIX:
                may = allowed(state, plan)[0].numpy()
                assert may[id]
                expected += float(tf.nn.log_softmax(np.where(may, logits[t], -1e30))[id])
            state = next_state(state, tf.constant([id]))
        assert total == pytest.approx(expected, abs=1e-2, rel=1e-5)


def test_graphs_allow_what_the_rules_allow():
    """Along random legal walks, `MuseNetGrammar` and the plain loop of `valid_next` agree."""
    rng = np.random.default_rng(3)
    for _ in range(6):
        ids, state = list(FRONT), GRAMMAR.initial_state(1)
        for id in ids:
            state = next_state(state, tf.constant([id]))
        while len(ids) < 60 and ids[-1] != vocabulary.END:
            valid = RULES.valid_next(ids)
            np.testing.assert_array_equal(allowed(state, FREE)[0], valid)
            kind = rng.choice([0, 1, 2])
            waits = np.flatnonzero(valid[vocabulary.FIRST_WAIT : 4096]) + vocabulary.FIRST_WAIT
            notes = np.flatnonzero(valid[: vocabulary.FIRST_WAIT])
            few = notes[(notes % 128 > 60) & (notes % 128 < 64)]
            choice = [waits, few if len(few) else notes, notes][kind]
            ids.append(int(rng.choice(choice if len(choice) else np.flatnonzero(valid))))
            state = next_state(state, tf.constant([ids[-1]]))
        where = places(ids, PREFIX)
        assert int(state.moment[0]) == where.moment[-1]
        assert int(state.chord[0]) == where.chord[-1]


@pytest.fixture(scope="module")
def streams():
    """Returns 100 pieces of open length, and 100 planned to last 3 seconds."""
    free, _ = written(untrained(), 256, outputs=100)
    planned, _ = written(untrained(), 256, Constraints(300, ANYTHING), outputs=100, temperature=0.9)
    return free, planned


def test_streams_have_no_hung_no_doubled_and_no_too_long_note(streams):
    ids = np.concatenate(streams)
    for row in ids:
        decoded = codec.decode(row)
        assert decoded.unmatched == 0
        assert max((n.end - n.start for n in decoded.notes), default=0) <= RULES.max_note
        starts = [(n.start, n.pitch, n.instrument.name) for n in decoded.notes]
        assert len(set(starts)) == len(starts)
    assert len({tuple(row) for row in ids}) == 200


def test_only_the_instruments_asked_for_play():
    wanted = ("bass", "drums")
    allowed = vocabulary.played_by(wanted)
    ids, _ = written(untrained(), 256, Constraints(0, allowed), outputs=24)
    playing = {note.instrument.family for row in ids for note in codec.decode(row).notes}
    assert playing == set(wanted)


def test_what_a_primer_left_sounding_can_end_in_a_piece_for_others():
    """Else time would stop at the longest note, with nothing left that may be written."""
    plan = Constraints(0, vocabulary.played_by(["drums"]))
    state = GRAMMAR.initial_state(1)
    violin = vocabulary.on_id(vocabulary.BY_NAME["violin"], 60, 64)
    waits = vocabulary.wait_ids(RULES.max_note)
    for id in [*FRONT, violin, *waits]:
        state = next_state(state, tf.constant([id]))
    may = np.flatnonzero(allowed(state, plan)[0])
    assert [vocabulary.text(id) for id in may if id < vocabulary.FIRST_DRUM] == ["violin:v0:C3"]


def test_a_sounding_note_can_end_in_the_next_moment_whatever_is_masked_or_filtered():
    plan, rng = Constraints(0, vocabulary.played_by(["drums"])), np.random.default_rng(4)
    free, _ = written(untrained(), 128, outputs=8)
    wait, table = vocabulary.FIRST_WAIT, network.tables()
    state = GRAMMAR.initial_state(8)
    for ids in free.T:
        state = next_state(state, tf.constant(ids))
    later = next_state(state, tf.fill([8], wait))
    offs = np.stack(
        [np.where(table.off >= 0, age[table.off] >= 0, False) for age in later.age.numpy()]
    )
    assert offs.any()
    assert not (offs & ~allowed(later, plan).numpy()).any()
    np.testing.assert_array_equal(GRAMMAR.ending(later), offs)
    logits = tf.constant(rng.normal(size=offs.shape), tf.float32) - 9.0 * offs
    kept = Sampler(top_k=8).filtered(logits, GRAMMAR.ending(later)).numpy() > -1e30
    assert kept[offs].all() and (kept[~offs].sum() == 8 * 8)


def test_a_planned_piece_ends_near_its_length(streams):
    _, planned = streams
    ends = [codec.decode(row).units for row in planned if vocabulary.END in row]
    assert len(ends) > 3
    assert all(285 <= units <= 300 + vocabulary.MAX_WAIT + RULES.max_note for units in ends)


def scales(count=80):
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence()
    for i in range(count):
        pitch = 60 + [0, 2, 4, 5, 7, 9, 11, 12][i % 8]
        sequence.notes.add(start_time=i / 4, end_time=i / 4 + 0.25, pitch=pitch, velocity=80)
    return sequence


def windows_of(sequence, crop=64):
    converter = build_converter(MuseNetConverterConfig(crop=crop, min_tokens=1))
    rows = converter.encode(sequence).examples
    lengths = np.array([len(row) for row in rows], np.int32)
    padded = np.stack(
        [np.pad(row, [[0, converter.window_steps - len(row)], [0, 0]]) for row in rows]
    )
    return converter, Examples(padded, lengths, None)


def test_the_better_candidates_are_kept():
    """Their scores are those of windows that the network reads by itself."""
    model = shaken(small(layers=1, positions=64, objective=MuseNetObjective(critic=0.1)))
    plan = Constraints(800, ANYTHING)
    rows = generate_tokens(model, FRONT, request(num_outputs=6), 100, plan)
    by_critic, by_likelihood = critic.judged(model, rows, plan)
    row = np.trim_zeros(rows[2], "b")
    part, countdown = (x.numpy()[0] for x in model.places_of(row[None], plan))
    events = np.stack([row, part, countdown], axis=1)
    log_p, judgements, tokens = [], [], []
    for start in range(PREFIX, len(row), 61):
        window = np.concatenate([events[:PREFIX], events[start : start + 61]]).astype(np.int32)
        window[:PREFIX, 1:] = window[PREFIX, 1:]
        logits, judgement = model.judge({"events": tf.constant(window[None])})
        log = tf.nn.log_softmax(logits[0]).numpy()
        log_p.append(log[np.arange(len(window)), window[:, 0]][PREFIX:].sum())
        judgements.append(float(judgement[0]))
        tokens.append(len(window) - PREFIX)
    assert by_likelihood[2] == pytest.approx(sum(log_p) / sum(tokens), abs=1e-4)
    assert by_critic[2] == pytest.approx(np.average(judgements, weights=tokens), abs=1e-4)

    converter = build_converter(MuseNetConverterConfig())
    for rank, scores in (("critic", by_critic), ("likelihood", by_likelihood)):
        asked = request(candidates=3, rank=rank)
        best = generation._best(model, rows, asked, plan)
        np.testing.assert_array_equal(best, rows[np.argsort(-scores)[:2]])
        asked = request(candidates=3, rank=rank, num_tokens=60)
        assert len(model.generate(asked, converter)) == 2


# Whole pieces ------------------------------------------------------------------------------------


def request(**changes):
    from magenta_lite.families.musenet.options import MuseNetOptions

    base = {"mode": "sample", "inputs": [], "num_outputs": 2, "seed": 0}
    return MuseNetOptions(**base | {"temperature": 1.0, "qpm": 120.0} | changes)


def test_a_piece_longer_than_the_context_goes_on_as_if_the_rest_were_read_again():
    """Across the boundary, what is drawn follows from one pass over the window."""
    model = shaken(small(positions=128))
    plan = Constraints(1500, ANYTHING)
    greedy = request(temperature=0.0, num_outputs=1)
    (row,) = generate_tokens(model, FRONT, greedy, 200, plan)
    row = np.trim_zeros(row, "b")
    state = GRAMMAR.initial_state(1)
    window, counted = [], 0
    for t, id in enumerate(row):
        if len(window) == 128:
            window = window[:PREFIX] + window[-64:]
        if t >= PREFIX:
            units = network.tables().units[np.array(window)]
            elapsed = int(state.units[0]) - units.sum() + np.cumsum(units)
            part = np.clip(PARTS * elapsed // 1500, 0, PARTS - 1)
            events = np.stack([window, part, PARTS - 1 - part], axis=1).astype(np.int32)
            events = np.concatenate([events, [[1, 0, 0]]])[None]  # the last one is not read
            logits = model({"events": tf.constant(events)})[0, -1].numpy()
            may = allowed(state, plan)[0].numpy()
            best = np.sort(np.where(may, logits, -1e30))[-2:]
            if best[1] - best[0] > 1e-3:
                assert id == np.argmax(np.where(may, logits, -1e30)), t
                counted += 1
        window.append(int(id))
        state = next_state(state, tf.constant([id]))
    assert counted > 80


def test_a_long_piece_ends_by_itself_and_has_several_tracks():
    model, converter = untrained(positions=128), build_converter(MuseNetConverterConfig())
    pieces = model.generate(
        request(minutes=0.5, instruments=["piano", "bass", "drums"], strict=True), converter
    )
    for piece in pieces:
        assert 0.9 * 30 <= piece.total_time <= 1.1 * 30 + 3
        assert {note.program for note in piece.notes} <= {0, 32}
        assert len({note.instrument for note in piece.notes}) == 3


def test_a_primer_is_gone_on_from_with_its_instruments(capsys):
    model, converter = untrained(), build_converter(MuseNetConverterConfig())
    song = scales()
    song.total_time = max(note.end_time for note in song.notes)
    start = [("scales.mid", song)]
    (piece, _) = model.generate(
        request(mode="continue", inputs=start, primer_seconds=5.0), converter
    )
    played = [(n.pitch, n.start_time) for n in piece.notes if n.start_time < 4.9]
    assert played == [(n.pitch, n.start_time) for n in scales().notes if n.start_time < 4.9]
    assert piece.total_time > 5
    (marker,) = piece.text_annotations
    assert (marker.text, round(marker.time)) == ("continuation", 5)
    assert "the first 5 of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instruments": ["pianno"]}, "Unknown instrument 'pianno'. Did you mean piano"),
        ({"style": "jaz"}, "Unknown style 'jaz'. Did you mean jazz"),
        ({"strict": True}, "--strict needs --instruments"),
        ({"minutes": 99.0}, "--minutes=99 must be at most 15"),
        ({"minutes": 1.0, "num_tokens": 9}, "leave one out"),
        ({"inputs": [("a", None)]}, "--mode=continue continues it"),
        ({"mode": "continue"}, "--input=FILE"),
        ({"mode": "accompany"}, "--input=FILE"),
        ({"mode": "accompany", "inputs": [("s", 1)], "minutes": 1.0}, "leave out how long"),
        ({"mode": "continue", "inputs": [("a.mid", None)]}, "a.mid has nothing to go on from"),
        (
            {"mode": "accompany", "inputs": [("s", 1)], "instruments": ["piano"]},
            "play in s already",
        ),
        ({"mode": "continue", "inputs": [("s", 1)], "num_tokens": 9}, "The primer is"),
        (
            {"mode": "continue", "inputs": [("s", 2)], "minutes": 1.0, "primer_seconds": 60.0},
            "the model sees 256; shorten it",
        ),
        ({"candidates": 2}, "--rank=likelihood"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(changes, words):
    from note_seq.protobuf import music_pb2

    pieces = {None: music_pb2.NoteSequence(), 1: scales(), 2: scales(240)}
    if "inputs" in changes:
        changes = changes | {"inputs": [(n, pieces[p]) for n, p in changes["inputs"]]}
    with pytest.raises(UserError) as error:
        untrained().generate(request(**changes), build_converter(MuseNetConverterConfig()))
    assert words in str(error.value)


def test_served_functions_know_all_controls():
    model = untrained(positions=128)
    functions = model.signatures()
    arguments = model.signature_arguments(3, 1.0, 5)
    ids = functions["sample"](**arguments)["events"].numpy()
    open_ = decoding.sample(model, FRONT, 3, 128, 5, Sampler(), FREE)[0]
    np.testing.assert_array_equal(ids, open_)
    told = arguments | {"style": 4230, "families": 17, "strict": True, "minutes": 0.05}
    told = {name: tf.constant(value) for name, value in told.items()}
    ids = functions["continue"](primer=[36 + 18 * 128, 4000], **told)["events"].numpy()
    assert (ids[:, :5] == [4230, 4098 + 17, 4096, 2340, 4000]).all()
    playing = {note.instrument.family for row in ids for note in codec.decode(row).notes}
    assert playing == {"bass", "drums"}


def test_evaluation_counts_every_token_once_and_tells_kinds_apart():
    converter, examples = windows_of(scales())
    model = small(positions=64)
    model.crop = 64
    rows = WatchedRows(examples.events)
    numbers = model.measure(dataclasses.replace(examples, events=rows), 0)
    assert rows.most == 4  # the split may not fit into memory
    without_gaps = set(MEANINGS) - {"nll_infilled", "nll_continued"}
    assert set(numbers) == without_gaps - {"nll_per_drum_hit"}
    assert numbers["tokens"] == len(converter.ids_of(scales()))
    kept = np.arange(64) < examples.lengths[:, None]
    events = tf.constant(examples.events[:, :64] * kept[..., None])
    nats = -tf.nn.log_softmax(model({"events": events})).numpy()[:, PREFIX:]
    found = collections.defaultdict(list)
    for row, id in zip(
        nats.reshape(-1, nats.shape[2]), np.ravel(events[:, PREFIX:, 0]), strict=True
    ):
        found[vocabulary.token(int(id)).kind if id else "nothing"].append(row[id])
    for kind in ("note_on", "note_off", "wait"):
        assert numbers[f"nll_per_{kind}"] == pytest.approx(np.mean(found[kind]), rel=1e-5)
    assert numbers["nll_per_token"] == pytest.approx(math.log(vocabulary.SIZE), abs=0.1)
    assert numbers["nll_within_grammar"] < numbers["nll_per_token"] - 0.5
    assert numbers["seconds"] == pytest.approx(20, abs=0.26)


def test_guidance_moves_away_from_what_is_not_told():
    """Its logits are those of two passes, in steps, in the first pass and beyond the context."""
    model = shaken(small(positions=64))
    front = [4230, 4098 + 17, vocabulary.START]
    greedy = request(temperature=0.0, num_outputs=2)
    rows = generate_tokens(model, front, greedy, 60, Constraints(0, ANYTHING, 2.5))
    row, state, counted = np.trim_zeros(rows[0], "b"), GRAMMAR.initial_state(1), 0
    unknown = np.full(len(row), PARTS)
    told = np.stack([row, unknown, unknown], axis=1).astype(np.int32)
    untold = told.copy()
    untold[:2, 0] = vocabulary.UNSPECIFIED
    told, untold = tf.nn.log_softmax(model({"events": tf.stack([told, untold])})).numpy()
    logits = untold + 2.5 * (told - untold)
    for t, id in enumerate(row):
        may = allowed(state, FREE)[0].numpy()
        best = np.sort(np.where(may, logits[t], -1e30))[-2:]
        if t >= PREFIX and best[1] - best[0] > 1e-3:
            assert id == np.argmax(np.where(may, logits[t], -1e30)), t
            counted += 1
        state = next_state(state, tf.constant([id]))
    assert counted > 30
    plain = generate_tokens(model, front, greedy, 60, FREE)
    assert not np.array_equal(plain, rows)
    assert generate_tokens(model, front, greedy, 150, Constraints(0, ANYTHING, 2.5)).shape[1] > 60


def test_others_join_a_piece_that_stays_as_it_is():
    """Its notes, longer and with longer rests than the model's own, are all there."""
    converter = build_converter(MuseNetConverterConfig())
    model = small(rules=MuseNetRules.in_seconds(2.0, 1.0), layers=1, positions=128)
    piece = scales()
    del piece.notes[20:]
    for start, length, drum in ((5.0, 4.0, False), (11.0, 0.5, False), (2.0, 0.1, True)):
        piece.notes.add(
            start_time=start, end_time=start + length, pitch=50, velocity=80, is_drum=drum
        )
    asked = request(mode="accompany", inputs=[("a", piece)], instruments=["bass", "strings"])
    whole = codec.decode(converter.ids_of(piece)).notes
    for joined in model.generate(asked, converter):
        notes = converter.notes_of(joined)
        theirs = [n for n in notes if n.instrument.name in ("piano", "drums")]
        pairs = zip(theirs, codec.repaired(whole), strict=True)
        assert all(
            (a.start, a.pitch, a.instrument) == (b.start, b.pitch, b.instrument) for a, b in pairs
        )
        others = {n.instrument.name for n in notes} - {"piano", "drums"}
        assert others and others <= {"bass", "violin", "cello"}
        assert max(n.start for n in notes) <= 1150
