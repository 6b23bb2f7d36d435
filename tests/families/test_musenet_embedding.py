"""MuseNet's factored embeddings, and the tokens that its grammar leaves in the softmax."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from test_musenet import scales, small, windows_of

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.converters.musenet.rules import MuseNetRules, tables
from magenta_lite.families.musenet.config import MuseNetObjective
from magenta_lite.families.musenet.embedding import groups
from magenta_lite.families.musenet.grammar import possible

VIOLIN, CELLO = vocabulary.BY_NAME["violin"], vocabulary.BY_NAME["cello"]


def test_tokens_share_what_they_have_in_common():
    block, pitch, pitch_class = (group.tolist() for group in groups())
    loud, soft = (vocabulary.on_id(vocabulary.PIANO, 60, velocity) for velocity in (120, 30))
    off, other = vocabulary.off_id(VIOLIN, 60), vocabulary.on_id(VIOLIN, 72, 80)
    assert block[loud] != block[soft] and pitch[loud] == pitch[soft] == pitch[off] == 60
    assert (
        pitch_class[loud]
        == pitch_class[soft]
        != pitch_class[vocabulary.off_id(vocabulary.PIANO, 60)]
    )
    assert pitch_class[other] == pitch_class[vocabulary.on_id(VIOLIN, 60, 80)] != pitch_class[off]
    drum = vocabulary.on_id(vocabulary.DRUMS, 36, 80)
    wait = vocabulary.FIRST_WAIT
    for id in (drum, wait, vocabulary.START, vocabulary.UNSPECIFIED):
        assert pitch[id] == pitch_class[id] == -1
    assert len(set(pitch_class)) == 1 + 12 * 2 * 9 and set(block) == set(range(38))


@pytest.mark.parametrize("factored", [False, True])
def test_the_embedding_of_a_token_is_the_sum_of_its_groups(factored):
    model = small(factored=factored, positions=16)
    weights = {weight.path.split("/")[-1]: weight.numpy() for weight in model.weights}
    expected = weights["embedding"].copy()
    assert ("embedding_pitch" in weights) == factored
    if factored:
        for name, group in groups()._asdict().items():
            rows = weights[f"embedding_{name}"]
            expected[group >= 0] += rows[group[group >= 0]]
    table = model.embedding.table().numpy()
    np.testing.assert_allclose(table, expected, atol=1e-6)
    wide = small(hidden_size=256, layers=1, positions=16, factored=factored)
    deviation = wide.embedding.table().numpy()[:3840].std()
    assert deviation == pytest.approx(0.125 / 16, rel=0.1)


def test_possible_tokens_are_those_of_the_grammar_and_more_only_where_a_note_may_have_begun():
    _, examples = windows_of(scales())
    ids = np.asarray(examples.events[0])[:, 0]
    mask = possible(tf.constant(ids[None], tf.int32)).numpy()[0]
    rules, table = MuseNetRules(10**6, 10**6), tables()
    touched: set[int] = set()
    for place in range(PREFIX, len(ids) - 1):
        id, valid = int(ids[place]), rules.valid_next(ids[PREFIX:place])
        assert not (valid & ~mask[place]).any()
        more = np.flatnonzero(mask[place] & ~valid)
        # Notes that may have begun before; a note that has just begun; the end; what is there.
        free = (table.off[more] >= 0) & ~np.isin(table.off[more], list(touched))
        sounding = (table.on[more] >= 0) | (table.off[more] >= 0)
        assert (free | sounding | (more == rules.end) | (more == id)).all()
        if table.off[id] >= 0:
            touched.add(int(table.off[id]))
            off = np.flatnonzero(table.off == table.off[id])
            assert not mask[place + 1, off].any() or ids[place + 1] in off
        if table.on[id] >= 0:
            touched.discard(int(table.on[id]))
    assert not mask[PREFIX:, rules.end + 1 :].any()


def test_loss_within_the_grammar_is_that_of_the_possible_tokens():
    _, examples = windows_of(scales())
    model = small(objective=MuseNetObjective(grammar=True), positions=64)
    plain = small(objective=MuseNetObjective(), positions=64)
    plain.set_weights(model.get_weights())
    events = tf.constant(np.asarray(examples.events[:2])[:, :64].astype(np.int32))
    batch = {"events": events}
    logits = model(batch)
    allowed = possible(events[..., 0])
    nll = -tf.nn.log_softmax(tf.where(allowed, logits, -np.inf))
    each = tf.gather(nll, events[..., 0], axis=2, batch_dims=2).numpy()
    counts = (events[..., 0].numpy() != 0) & (np.arange(64) >= PREFIX)
    expected = (each * counts).sum() / counts.sum()
    prepared = model.preprocess(batch, training=False)
    found = float(model.mean_loss(prepared, logits, training=False))
    assert found == pytest.approx(expected, rel=1e-5)
    assert plain.mean_loss(prepared, logits, training=False) > expected + 0.5
