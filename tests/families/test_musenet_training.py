"""Training of MuseNet: augmentation, crops, learning, mixup and the critic."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_musenet import events_of, scales, shaken, small, windows_of

from magenta_lite.config import get_config
from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.converters.musenet.places import PARTS
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError
from magenta_lite.families.musenet import model as network
from magenta_lite.families.musenet.config import MuseNetConfig, MuseNetObjective
from magenta_lite.training.trainer import compile_model


def test_time_is_stretched_without_drift_and_volumes_are_shifted():
    rng = np.random.default_rng(0)
    ids = [vocabulary.on_id(vocabulary.PIANO, 60, 64)]
    for _ in range(400):
        ids += [*vocabulary.wait_ids(int(rng.integers(1, 100))), 188]
    slower = network.stretched(tf.constant([ids]), tf.constant([[1.1]]))[0].numpy()
    units = network.tables().units
    assert abs(units[slower].sum() - 1.1 * units[ids].sum()) <= 1
    np.testing.assert_array_equal(slower[units[ids] == 0], np.array(ids)[units[ids] == 0])
    volumes = {
        vocabulary.token(int(network.louder_piano(tf.constant([ids]), tf.constant([[d]]), 2)[0, 0]))
        for d in (0.0, 0.3, 0.5, 0.7, 0.99)
    }
    assert {token.volume for token in volumes} == {48, 56, 64, 72, 80}


def test_crops_keep_their_prefix_and_all_tokens():
    converter, examples = windows_of(scales())
    model = small(objective=MuseNetObjective(0.5, 0.5), positions=64)
    batches = batches_for(
        converter, examples, batch_size=64, seed=0, random_inputs=model.random_inputs()
    )
    batch = next(iter(batches.dataset()))
    events = batch["events"].numpy()
    assert events.shape == (64, 64, 3)
    assert (events[:, :PREFIX, 0] == converter.prefix(None, ["piano"])).all()
    varied = model.varied(batch)["events"].numpy()
    assert set(varied[:, 1, 0]) == {vocabulary.UNSPECIFIED, 4098 + 64}
    unknown = varied[:, 5, 1] == PARTS
    assert 10 < unknown.sum() < 54
    np.testing.assert_array_equal(varied[:, PREFIX - 1, 1:], varied[:, PREFIX, 1:])
    waits = events[..., 0] >= vocabulary.FIRST_WAIT  # the others may be louder
    assert not (varied[..., 0] == vocabulary.END_SAMPLE).any()
    np.testing.assert_array_equal(varied[..., 0] >= vocabulary.FIRST_WAIT, waits)


def test_it_learns_a_piece():
    converter, examples = windows_of(scales())
    model = small(
        rules=converter.rules, objective=MuseNetObjective(volume_shift=0, time_stretch=0.0)
    )
    config = get_config(
        "musenet_nano", ["train.steps=150", "train.warmup_steps=5", "train.learning_rate=1e-2"]
    )
    compile_model(model, config.train)
    batches = batches_for(
        converter, examples, batch_size=8, seed=0, random_inputs=model.random_inputs()
    )
    history = model.fit(batches.dataset(), steps_per_epoch=50, epochs=3, verbose=0).history
    assert history["nll_per_token"][-1] < 1.0


def test_examples_are_mixed_in_pairs():
    """Beside the loss of embeddings and targets that are mixed by hand."""
    model = shaken(small(objective=MuseNetObjective(mixup=0.2), positions=48))
    assert set(model.random_inputs()) == {"told", "played", "mix"}
    rng = np.random.default_rng(0)
    events = events_of(rng.integers(1, 4096, (4, 48)), rng)
    draws = np.array([[3.0, 1.0], [9.0, 1.0], [0.0, 2.0], [1.0, 1.0]], np.float32)
    batch = {"events": tf.constant(events), "mix": tf.constant(draws)}
    loss = float(model.compute_loss(x=batch, y_pred=model(batch, training=True)))
    x = model._embed_shifted(model.embedding.table(), *np.moveaxis(events, 2, 0))
    nll = []
    for share, row, other in ((0.75, 0, 1), (0.75, 1, 0), (0.0, 2, 3), (0.0, 3, 2)):
        y = (share * x[row] + (1 - share) * x[other])[None]
        for layer in model.decoder:
            y = layer(y)
        log_p = tf.nn.log_softmax(model.logits(y, model.embedding.table()))[0].numpy()
        for weight, target in ((share, row), (1 - share, other)):
            picked = log_p[np.arange(48), events[target, :, 0]][PREFIX:]
            nll.append(-weight * picked.mean())
    assert loss == pytest.approx(sum(nll) / 4, rel=1e-5)
    odd = {name: x[:3] for name, x in batch.items()}
    with pytest.raises(UserError, match="an even number, or objective"):
        model(odd, training=True)


def test_the_critic_learns_what_the_model_wrote():
    converter, examples = windows_of(scales())
    objective = MuseNetObjective(
        volume_shift=0, time_stretch=0.0, critic=1.0, critic_share=0.5, critic_pieces=8
    )
    keras.utils.set_random_seed(1)
    sizes = MuseNetConfig(layers=1, hidden_size=32, heads=2, positions=64, dropout=0.0)
    model = network.MuseNet(converter.rules, sizes, objective, crop=64)
    model.prepare(0, examples, 0)
    assert not int(model.generated)
    model.prepare(1000, examples, 0)
    store = model.generations.numpy()
    assert int(model.generated) and len({row.tobytes() for row in store[..., 0]}) == 8
    half = PREFIX + (64 - PREFIX) // 2
    stored = [row[:half, 0].astype(int).tolist() for row in examples.events]
    for row in store:
        assert row[:half, 0].tolist() in stored  # the data's first half, and something else
        beginning = stored.index(row[:half, 0].tolist())
        assert not np.array_equal(row[half:64, 0], examples.events[beginning][half:64, 0])
    again = store.copy()
    model.prepare(1000, examples, 0)
    np.testing.assert_array_equal(model.generations, again)  # follows from weights and seed

    config = get_config("musenet_nano", ["train.warmup_steps=5", "train.learning_rate=1e-2"])
    compile_model(model, config.train)
    batches = batches_for(
        converter, examples, batch_size=16, seed=0, random_inputs=model.random_inputs()
    )
    batch = next(iter(batches.dataset()))
    varied = model.varied(batch)
    own = varied["own"].numpy() > 0
    assert 0 < own.sum() < 16
    assert (network.counts_of(varied).numpy()[own] == 0).all()
    history = model.fit(batches.dataset(), steps_per_epoch=40, epochs=2, verbose=0).history
    assert history["critic_accuracy"][-1] > 0.9
    music = examples.events[:4, :64].astype(np.int32)
    judgement = model.judge({"events": tf.constant(np.concatenate([music, store[:4]]))})[1].numpy()
    assert judgement[:4].min() > judgement[4:].max()
