"""Batches for training, each a pure function of (seed, step).

Example number g = step * batch_size + row of a run stands at place g % N of epoch g // N; every
epoch has its own order. Transpositions and a model's random numbers are drawn statelessly for the
whole batch of a step, and a replica takes its rows. So neither a restart nor the number of
replicas changes what is trained on.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.models.base import Draw

FAR = 2**60  # more steps than any run makes, times replicas


@dataclasses.dataclass(frozen=True)
class Batches:
    """What the batches of a data set are made of.

    Attributes:
        events: uint8 (N, T).
        lengths: int32 (N,).
        batch_size: Examples B of a step, over all replicas together.
        seed: Of order, transpositions and draws.
        draws: Random numbers that each example needs.
        shuffle: Whether each epoch has its own order; otherwise the stored one.
        transpose: Lowest and highest transposition in semitones.
        pitch_ids: Lowest and highest id that is a note; transposition keeps to it.
    """

    events: Any
    lengths: Any
    batch_size: int
    seed: int
    draws: Mapping[str, Draw] = dataclasses.field(default_factory=dict)
    shuffle: bool = True
    transpose: tuple[int, int] = (0, 0)
    pitch_ids: tuple[int, int] = (0, 0)

    def dataset(
        self,
        start: int = 0,
        strategy: tf.distribute.Strategy | None = None,
    ):
        """Returns the batches of the steps from `start` on, without end.

        Args:
            start: First step.
            strategy: Each of its replicas gets its own rows of every batch.

        Returns:
            A data set (distributed, if there are several replicas) of dicts: `events` int32
            (b, T), `length` int32 (b,), `example` int64 (b,), the example's number in the run,
            and float32 (b, *shape) for each draw; b = B / replicas.

        Raises:
            UserError: If B is not a multiple of the replicas.
        """
        replicas = strategy.num_replicas_in_sync if strategy else 1
        if self.batch_size % replicas:
            low = self.batch_size // replicas * replicas
            raise UserError(
                f"train.batch_size={self.batch_size} cannot be divided by {replicas} replicas; "
                f"--set train.batch_size={low or replicas} can"
            )
        if strategy is None:
            return self._local(start, 0, 1, 1)

        def of_worker(context):
            local = replicas // context.num_input_pipelines
            return self._local(start, context.input_pipeline_id * local, local, replicas)

        return strategy.distribute_datasets_from_function(of_worker)

    def _local(self, start, first_replica, local_replicas, replicas):
        """Returns the batches of replicas `first_replica`... of each step, one after the other."""
        rows = self.batch_size // replicas
        events = tf.constant(self.events)  # captured by the functions, not a part of their graph
        lengths = tf.constant(self.lengths, tf.int32)

        def batch(number):
            step = number // local_replicas
            first_row = (first_replica + number % local_replicas) * rows
            return self._batch(events, lengths, step, first_row, rows)

        numbers = tf.data.Dataset.range(start * local_replicas, FAR)
        batches = numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return batches.prefetch(tf.data.AUTOTUNE)

    def _batch(self, events, lengths, step, first_row, rows):
        size = tf.shape(events, tf.int64)[0]
        example = step * self.batch_size + first_row + tf.range(rows, dtype=tf.int64)
        index = example % size
        if self.shuffle:
            index = _place_in_epoch(self._seed("order"), example // size, index, size)
        length = tf.gather(lengths, index)
        ids = tf.cast(tf.gather(events, index), tf.int32)

        def draw(function, name, shape, **kwargs):
            """Draws for the whole batch and keeps this replica's rows."""
            seed = tf.stack([tf.constant(self._seed(name), tf.int64), step])
            drawn = function([self.batch_size, *shape], seed, alg="philox", **kwargs)
            mine = drawn[first_row : first_row + rows]
            return tf.ensure_shape(mine, [rows, *shape])

        if self.transpose != (0, 0):
            low, high = self.transpose
            semitones = draw(
                tf.random.stateless_uniform,
                "transpose",
                (),
                minval=low,
                maxval=high + 1,
                dtype=tf.int32,
            )
            ids = transpose(ids, semitones, self.pitch_ids)
        batch = {"events": ids, "length": length, "example": example}
        for name, wanted in self.draws.items():
            function = {
                "normal": tf.random.stateless_normal,
                "uniform": tf.random.stateless_uniform,
            }[wanted.kind]
            batch[name] = draw(function, f"draw {name}", wanted.shape)
        return batch

    def _seed(self, purpose: str) -> int:
        """Returns 63 bits that differ between seeds and between purposes."""
        return ((self.seed & 0x7FFFFFFF) << 32) | zlib.crc32(purpose.encode())


def _place_in_epoch(seed: int, epoch, position, size):
    """Returns which example stands at each `position` (b,) of its `epoch` (b,)."""
    seeds = tf.stack(
        [tf.fill(tf.shape(epoch), tf.constant(part, tf.int64)) for part in divmod(seed, 2**32)]
        + [epoch],
        axis=1,
    )
    # The public function cannot take a seed for each index. Neighbours stay near one another with
    # its 4 rounds; 12 mix them.
    return tf.raw_ops.RandomIndexShuffle(index=position, seed=seeds, max_index=size - 1, rounds=12)


def transpose(ids, semitones, pitch_ids: tuple[int, int]):
    """Shifts the notes of each row, by less where one would leave the range.

    Args:
        ids: Int32 (B, T).
        semitones: Int32 (B,).
        pitch_ids: Lowest and highest id that is a note; other ids stay.

    Returns:
        Int32 (B, T).
    """
    low, high = pitch_ids
    notes = (ids >= low) & (ids <= high)
    lowest = tf.reduce_min(tf.where(notes, ids, high), axis=1)
    highest = tf.reduce_max(tf.where(notes, ids, low), axis=1)
    shift = tf.clip_by_value(semitones, low - lowest, high - highest)
    return tf.where(notes, ids + shift[:, None], ids)


def held_out_batches(size: int, batch_size: int, replicas: int) -> tuple[int, int]:
    """Says how to cut `size` held-out examples into equal batches, none of them twice.

    Returns:
        Batch size, at most `batch_size` and a multiple of `replicas`, and number of batches.
        Fewer examples are left out than there are batches times replicas. (0, 0): too few.
    """
    if size < replicas:
        return 0, 0
    count = -(-size // batch_size)
    return size // count // replicas * replicas, count
