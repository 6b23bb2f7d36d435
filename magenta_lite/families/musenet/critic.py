"""The inner critic: music of the data beside what the model itself made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.families.musenet.grammar import Constraints
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import decoding
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import Tensor

if TYPE_CHECKING:
    from magenta_lite.families.musenet.model import MuseNet

OF_EACH = 4  # generations from one beginning
BATCH = 4  # windows that are judged at once


class Generations:
    """Keeps a store of a model's own music fresh while it is trained.

    A generation is a crop of the data of which the model wrote the second half.

    Args:
        model: A `MuseNet` with a store.
    """

    def __init__(self, model: MuseNet):
        self._model = model

        specs = [tf.TensorSpec([self._half], tf.int32), tf.TensorSpec([], tf.int32)]

        @graph_function(input_signature=specs)
        def go_on(primer, seed):
            anything = Constraints(0, np.ones(vocabulary.SIZE, bool))
            return decoding.sample(model, primer, OF_EACH, model.crop, seed, Sampler(), anything)[0]

        self._go_on = go_on

    @property
    def _half(self) -> int:
        return PREFIX + (self._model.crop - PREFIX) // 2

    def renew(self, examples: Any, step: int, seed: int) -> None:
        """Fills the store with what the model makes of some examples now.

        Args:
            examples: A `collections.Examples` of the training set.
            step: Steps done; which examples are taken depends on it and on `seed` alone.
            seed: Of the run.
        """
        store, crop = self._model.generations, self._model.crop
        rng = np.random.default_rng([seed & 0x7FFFFFFF, step])
        lengths = np.minimum(examples.lengths, crop)
        if lengths.max() <= self._half:
            return
        usable = np.flatnonzero(lengths == lengths.max())  # whole crops, if there are any
        made = []
        for row in rng.choice(usable, -(-store.shape[0] // OF_EACH)):
            events = np.zeros((crop, 3), np.int32)
            stored = np.asarray(examples.events[row][:crop])
            events[: len(stored)] = stored
            primer = tf.constant(events[: self._half, 0])
            for ids in self._go_on(primer, tf.constant(rng.integers(2**31), tf.int32)).numpy():
                # It stands where what it took the place of stood.
                made.append(np.concatenate([ids[:, None], events[:, 1:]], axis=1))
        store.assign(np.stack(made[: store.shape[0]]))
        self._model.generated.assign(1)


def last_places(ids: Tensor) -> Tensor:
    """Returns where the last token of each row of ids int (B, T) stands; zeros fill up."""
    return tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=1) - 1


def judged(
    model: MuseNet, rows: np.ndarray, constraints: Constraints
) -> tuple[np.ndarray, np.ndarray]:
    """Judges whole pieces, in windows as long as what the model sees.

    Args:
        model: A trained `MuseNet`.
        rows: Ids int (N, T), zeros after the end of a piece.
        constraints: What they were to be.

    Returns:
        Float (N,): the critic's mean logit that the music is not the model's own, by tokens; and
        float (N,): mean log probability of a token behind the prefix, in nats.
    """
    reach = model.sizes.positions
    step = reach - PREFIX

    @graph_function
    def of_windows(events):
        ids = events[..., 0]
        logits, judgement = model.judge({"events": events})
        log_p = -tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
        there = tf.cast((ids != 0) & (tf.range(reach) >= PREFIX), tf.float32)
        return judgement, tf.reduce_sum(log_p * there, axis=1), tf.reduce_sum(there, axis=1)

    windows, owners = [], []
    for n, row in enumerate(np.asarray(rows)):
        row = row[: np.count_nonzero(row)]
        part, countdown = (x.numpy()[0] for x in model.places_of(row[None], constraints))
        events = np.stack([row, part, countdown], axis=1).astype(np.int32)
        for start in range(PREFIX, max(len(row), PREFIX + 1), step):
            front, body = events[:PREFIX], events[start : start + step]
            front = np.concatenate([front[:, :1], np.repeat(body[:1, 1:], PREFIX, axis=0)], axis=1)
            window = np.concatenate([front, body])
            windows.append(np.pad(window, [[0, reach - len(window)], [0, 0]]))
            owners.append(n)
    count = len(windows)
    windows += [windows[0]] * (-count % BATCH)  # batches of one size are traced once
    parts = [
        of_windows(tf.constant(np.stack(windows[i : i + BATCH])))
        for i in range(0, len(windows), BATCH)
    ]
    judgement, log_p, tokens = (np.concatenate(x)[:count] for x in zip(*parts, strict=True))
    owners, size = np.array(owners), len(rows)
    total = np.maximum(np.bincount(owners, tokens, size), 1)
    by_token = np.bincount(owners, judgement * tokens, size) / total
    return by_token, np.bincount(owners, log_p, size) / total
