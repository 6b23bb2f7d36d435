"""Training batches, each a pure function of (seed, step).

Example number g = step * batch_size + row of a run has position g % N in epoch g // N, and every
epoch is a different permutation of the N examples. Transpositions and the models' random numbers
are drawn statelessly for the whole batch of a step; each replica takes its rows. Neither a restart
nor the number of replicas therefore changes the training data.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.modeling.music_model import RandomInput
from magenta_lite.typing import Tensor

OCTAVE = 12
ROWS_COUNTED = 1024  # examples whose transpositions are counted
PREFETCHED = 2  # batches
MAX_BATCHES = 2**60  # more than the steps of any run times its replicas
UNIFORM: Callable[..., Tensor] = functools.partial(tf.random.stateless_uniform, alg="philox")


@dataclasses.dataclass(frozen=True)
class Batches:
    """The examples of a data set, and how they are batched and augmented.

    Attributes:
        events: Integers or floats (N, T, *event_shape), of which only the rows of a batch are read.
        lengths: int32 (N,).
        batch_size: Global batch size B, over all replicas together.
        seed: Seed of the order, the transpositions and the random inputs.
        random_inputs: Random numbers that each example needs.
        shuffle: Whether each epoch has its own order; otherwise the stored one.
        transpose: Lowest and highest transposition in semitones.
        transpose_last: The limits to which `transpose` narrows linearly in the second half of a
            run; None for constant limits.
        steps: Steps of the run, for `transpose_last`.
        pitch_ids: (part, lowest, highest) of the ids that are pitches. All pitches of an example
            are transposed together, within these ranges; empty for no transposition.
        pitch_ranges: (lowest, highest) playable id of each of `pitch_ids`. Pitches that are
            already outside may stay or move towards the range. None for all ids.
        controls: Chord classes uint8 (N, T), whose roots are transposed, too; None without.
        extras: Other integers (N, ...), by their names in a batch.
        segments: Number of segments of equal length that the T steps consist of.
        end_id: The id that ends a segment, the rest of which is padding; None without.
        fixed_segment_id: Segments that begin with this id (drum tracks) are not transposed; None
            without.
        crop: Length in steps of the crops. With `shuffle` a crop starts at random in the first
            `crop` steps, otherwise at the first; 0 for no crops.
        crop_grid: Crops start at multiples of this number of steps.
        crop_prefix: Number of leading steps of the stored example that are kept in every crop.
        fold: Fold pitches that would leave their range by octaves, instead of reducing the
            transposition of the example. Ranges must span at least an octave.
        reject: Draw uniformly among the transpositions that keep all pitches in their ranges,
            instead of reducing a transposition.
        rearrange: Changes the order of the steps of crops, with `shuffle`; see
            `Converter.rearranged`. None for no change.
    """

    events: Any
    lengths: Any
    batch_size: int
    seed: int
    random_inputs: Mapping[str, RandomInput] = dataclasses.field(default_factory=dict)
    shuffle: bool = True
    transpose: tuple[int, int] = (0, 0)
    transpose_last: tuple[int, int] | None = None
    steps: int = 0
    pitch_ids: tuple[tuple[int, int, int], ...] = ()
    pitch_ranges: tuple[tuple[int, int], ...] | None = None
    controls: Any = None
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    segments: int = 1
    end_id: int | None = None
    fixed_segment_id: int | None = None
    crop: int = 0
    crop_grid: int = 1
    crop_prefix: int = 0
    fold: bool = False
    reject: bool = False
    rearrange: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None

    def dataset(self, start: int = 0, strategy: tf.distribute.Strategy | None = None) -> Any:
        """Returns an infinite data set of the batches from step `start` on.

        A strategy distributes the rows of every batch over its replicas. Batches are dicts:
        `events` int32 or float32 (b, T, *event_shape), `length` int32 (b,), `example` int64 (b,),
        the example's number in the run, `controls` int32 (b, T) where there are any, `extras`
        int32, and float32 (b, *shape) for each random input; b = B / replicas.

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
        """Returns the batches of `local_replicas` replicas from `first_replica` on, interleaved."""
        rows = self.batch_size // replicas

        @tf.autograph.experimental.do_not_convert
        def batch(number):
            step = number // local_replicas
            first_row = (first_replica + number % local_replicas) * rows
            return self._batch(step, first_row, rows)

        numbers = tf.data.Dataset.range(start * local_replicas, MAX_BATCHES)
        batches = numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        # The autotuning thread sleeps for up to a minute and may miss that its iterator was
        # deleted, which delays the end of a validation.
        options = tf.data.Options()
        options.autotune.enabled = False
        return batches.prefetch(PREFETCHED).with_options(options)

    def _batch(self, step, first_row, rows):
        size = len(self.lengths)
        example = step * self.batch_size + first_row + tf.range(rows, dtype=tf.int64)
        index = example % size
        if self.shuffle:
            index = _place_in_epoch(self._seed("order"), example // size, index, size)
        batch = self._examples(index)
        batch["example"] = example

        def draw(function, name, shape, **kwargs):
            """Draws for the global batch and returns this replica's rows."""
            seed = tf.stack([tf.constant(self._seed(name), tf.int64), step])
            drawn = function([self.batch_size, *shape], seed, **kwargs)
            mine = drawn[first_row : first_row + rows]
            return tf.ensure_shape(mine, [rows, *shape])

        if self.crop:
            start = tf.zeros_like(batch["length"])
            if self.shuffle:
                where = draw(UNIFORM, "crop", ())
                start = _crop_start(
                    where, batch["length"] - self.crop_prefix, self.crop - self.crop_prefix
                )
                start -= start % self.crop_grid
            batch["events"], batch["length"] = _cropped(
                batch["events"], batch["length"], start, self.crop, self.crop_prefix
            )
        if self.pitch_ids and self.transpose != (0, 0):
            low, high = self._transpose_limits(step)
            limits = {"minval": low, "maxval": high + 1, "dtype": tf.int32}
            semitones = draw(UNIFORM, "transpose", (), **limits)
            moving = self._transposable(batch["events"])
            if self.reject:
                where = draw(UNIFORM, "transpose", ())
                semitones = self._valid_semitones(batch["events"], where, moving, low, high)
            batch["events"], shift = transposed(
                batch["events"], semitones, self.pitch_ids, moving, self.fold
            )
            if "controls" in batch:
                batch["controls"] = rotated_chords(batch["controls"], shift)
        if self.rearrange and self.shuffle:
            seeds = draw(UNIFORM, "rearrange", (), minval=0, maxval=2**31 - 1, dtype=tf.int32)
            batch |= self._rearranged(batch["events"], batch["length"], seeds)
        for name, wanted in self.random_inputs.items():
            batch[name] = draw(_generator(wanted), f"draw {name}", wanted.shape)
        return batch

    def _examples(self, index):
        """Returns the stored examples at `index` (b,), integers as int32, floats as float32."""
        stored = {"events": self.events, "length": np.asarray(self.lengths), **self.extras}
        if self.controls is not None:
            stored["controls"] = self.controls
        types = [values.dtype for values in stored.values()]

        def read(index):
            # An operation of TensorFlow would need a copy of all examples in memory.
            return [values[index] for values in stored.values()]

        batch = {}
        tensors = tf.numpy_function(read, [index], types, stateful=False)
        for (name, values), rows in zip(stored.items(), tensors, strict=True):
            rows.set_shape([*index.shape, *values.shape[1:]])
            batch[name] = tf.cast(rows, tf.float32 if rows.dtype.is_floating else tf.int32)
        return batch

    def _rearranged(self, events, lengths, seeds):
        """Returns `events` and `length` of crops (b, T, ...) after `rearrange`."""
        rearrange = self.rearrange
        assert rearrange is not None

        def changed(events, lengths, seeds):
            padded, sizes = np.zeros_like(events), np.zeros_like(lengths)
            for row, (length, seed) in enumerate(zip(lengths, seeds, strict=True)):
                new = rearrange(events[row, :length], np.random.default_rng(seed))
                padded[row, : len(new)], sizes[row] = new, len(new)
            return padded, sizes

        types = (events.dtype, lengths.dtype)
        new = tf.numpy_function(changed, [events, lengths, seeds], types, stateful=False)
        return {
            name: tf.ensure_shape(x, like.shape)
            for name, x, like in zip(("events", "length"), new, (events, lengths), strict=True)
        }

    def _transpose_limits(self, step):
        """Returns the lowest and highest transposition at a step, in semitones."""
        if self.transpose_last is None:
            return self.transpose
        late = tf.clip_by_value(2 * tf.cast(step, tf.float32) / self.steps - 1, 0, 1)
        pairs = zip(self.transpose, self.transpose_last, strict=True)
        return [tf.cast(tf.round(a + late * (b - a)), tf.int32) for a, b in pairs]

    def _valid_semitones(self, ids, where, moving, lowest, highest):
        """Maps `where` (b,) in [0, 1) to transpositions int32 (b,) that keep pitches in range."""
        down, up = _shift_bounds(_columns(ids), self.pitch_ids, moving, self.pitch_ranges)
        low = tf.clip_by_value(down, lowest, highest)
        high = tf.clip_by_value(up, low, highest)
        return low + tf.cast(where * tf.cast(high - low + 1, tf.float32), tf.int32)

    def _transposable(self, ids):
        """Returns a mask bool (b, T) of the steps that may be transposed; None for all."""
        if self.end_id is None and self.fixed_segment_id is None:
            return None
        rows, steps = ids.shape
        segments = tf.reshape(ids, [rows, self.segments, steps // self.segments])
        moving = tf.ones_like(segments, tf.bool)
        if self.end_id is not None:
            moving &= tf.cumsum(tf.cast(segments == self.end_id, tf.int32), axis=2) == 0
        if self.fixed_segment_id is not None:
            moving &= segments[:, :, :1] != self.fixed_segment_id
        return tf.reshape(moving, [rows, steps])

    def _seed(self, purpose: str) -> int:
        """Returns a 63-bit seed for one purpose."""
        return ((self.seed & 0x7FFFFFFF) << 32) | zlib.crc32(purpose.encode())


def _place_in_epoch(seed: int, epoch, position, size):
    """Returns the index of the example at each `position` (b,) of its `epoch` (b,)."""
    seeds = tf.stack(
        [tf.fill(tf.shape(epoch), tf.constant(part, tf.int64)) for part in divmod(seed, 2**32)]
        + [epoch],
        axis=1,
    )
    # The public function takes no seed per index, and its 4 rounds leave neighbours close together;
    # 12 rounds mix them.
    return tf.raw_ops.RandomIndexShuffle(index=position, seed=seeds, max_index=size - 1, rounds=12)


def _generator(wanted: RandomInput) -> Callable[..., Tensor]:
    """Returns the function of a shape and a seed that draws a random input."""
    if wanted.kind == "normal":
        return functools.partial(tf.random.stateless_normal, alg="philox")
    if wanted.kind == "gamma":
        return functools.partial(tf.random.stateless_gamma, alpha=wanted.concentration)
    if wanted.kind == "seed":
        return functools.partial(UNIFORM, minval=None, maxval=None, dtype=tf.int32)
    return UNIFORM


def _crop_start(where, length, crop: int):
    """Maps `where` (b,) in [0, 1) to the starts of crops, int32 (b,).

    Rows are up to two crops long, and the second half of a row is the first half of the next one.
    Starts therefore lie in the first half; the last row of a piece allows every start.
    """
    places = tf.clip_by_value(length - crop + 1, 1, crop)
    return tf.cast(where * tf.cast(places, tf.float32), tf.int32)


def _cropped(ids, length, start, crop: int, prefix: int = 0):
    """Cuts crops out of rows of ids (b, T) or (b, T, P).

    A crop is the first `prefix` steps of its row, and those after the next `start` (b,) steps.

    Returns:
        Ids (b, crop) or (b, crop, P), zero-padded, and their lengths int32 (b,).
    """
    step = tf.range(crop)
    padded = tf.pad(ids, [[0, 0], [0, crop], [0, 0]][: ids.shape.rank])
    index = step + tf.where(step < prefix, 0, start[:, None])
    cut = tf.gather(padded, index, axis=1, batch_dims=1)
    length = tf.minimum(length - start, crop)
    there = step < length[:, None]
    return tf.where(there if ids.shape.rank == 2 else there[..., None], cut, 0), length


def transposed(
    ids: Tensor,
    semitones: Tensor,
    pitch_ids: Sequence[tuple[int, int, int]],
    moving: Tensor | None = None,
    fold: bool = False,
) -> tuple[Tensor, Tensor]:
    """Transposes each row, by less than asked where a pitch would leave its range.

    Args:
        ids: Int32 (B, T), or (B, T, P) for P parts.
        semitones: Int32 (B,).
        pitch_ids: (part, lowest, highest) of the ids that are pitches; other ids are kept.
        moving: Mask bool (B, T) of the steps that may be transposed; None for all.
        fold: Fold pitches that would leave their range by octaves instead.

    Returns:
        Ids of the same shape, and the semitones int32 (B,) by which each row was transposed.
    """
    columns, shift = _columns(ids), semitones
    notes = _notes(columns, pitch_ids, moving)
    if not fold:
        shift = tf.clip_by_value(shift, *_shift_bounds(columns, pitch_ids, moving))
    for (part, low, high), note in zip(pitch_ids, notes, strict=True):
        moved = columns[part] + shift[:, None]
        if fold:
            moved = tf.where(moved < low, low + (moved - low) % OCTAVE, moved)
            moved = tf.where(moved > high, high + 1 - OCTAVE + (moved - high - 1) % OCTAVE, moved)
        columns[part] = tf.where(note, moved, columns[part])
    return (tf.stack(columns, axis=2) if ids.shape.rank == 3 else columns[0]), shift


def _columns(ids):
    """Returns ids (B, T, P) as a list of P tensors (B, T); ids (B, T) as a list of one."""
    return tf.unstack(ids, axis=2) if ids.shape.rank == 3 else [ids]


def _notes(columns, pitch_ids, moving):
    """Returns for each of `pitch_ids` a mask bool (B, T) of its pitches."""
    found = [(columns[part] >= low) & (columns[part] <= high) for part, low, high in pitch_ids]
    return [note if moving is None else note & moving for note in found]


def _shift_bounds(columns, pitch_ids, moving=None, ranges=None):
    """Returns the lowest and highest shift int32 (B,) that keep all pitches in their ranges.

    With `ranges`, a shift of 0 is always allowed, even if pitches are already out of range.
    """
    down, up = [], []
    notes = _notes(columns, pitch_ids, moving)
    for i, ((part, low, high), note) in enumerate(zip(pitch_ids, notes, strict=True)):
        lowest, highest = ranges[i] if ranges else (low, high)
        down.append(lowest - tf.reduce_min(tf.where(note, columns[part], high), axis=1))
        up.append(highest - tf.reduce_max(tf.where(note, columns[part], low), axis=1))
    down, up = tf.reduce_max(down, axis=0), tf.reduce_min(up, axis=0)
    return (tf.minimum(down, 0), tf.maximum(up, 0)) if ranges else (down, up)


def rejected_transpositions(
    events: np.ndarray,
    pitch_ids: Sequence[tuple[int, int, int]],
    transpose: tuple[int, int],
    ranges: Any = None,
) -> int:
    """Counts the transpositions of examples (N, T) that move a pitch out of its range.

    Only the first `ROWS_COUNTED` examples are counted; built data sets are in random order. The
    other arguments are attributes of `Batches`.
    """
    rows = _columns(tf.cast(events[:ROWS_COUNTED], tf.int32))
    down, up = _shift_bounds(rows, pitch_ids, ranges=ranges)
    shifts = tf.range(transpose[0], transpose[1] + 1)[:, None]
    return int(tf.math.count_nonzero((shifts < down) | (shifts > up)))


def rotated_chords(classes: Tensor, semitones: Tensor) -> Tensor:
    """Transposes chord classes int32 (B, T) by `semitones` (B,).

    Class 0 is no chord; the others come in groups of 12 roots, one group per chord quality.
    """
    kind, root = (classes - 1) // 12, (classes - 1) % 12
    moved = kind * 12 + (root + semitones[:, None]) % 12 + 1
    return tf.where(classes > 0, moved, classes)


def batches_for(converter: Any, examples: Any, **settings: Any) -> Batches:
    """Returns the batches of a `collections.Examples` in the encoding of `converter`.

    The settings are the attributes of `Batches` that neither of them defines.
    """
    format = converter.event_format
    return Batches(
        events=examples.events,
        lengths=examples.lengths,
        pitch_ids=converter.pitch_ids,
        pitch_ranges=converter.pitch_ranges,
        controls=examples.controls,
        extras=examples.extras,
        crop=converter.crop,
        crop_grid=converter.crop_grid,
        crop_prefix=converter.crop_prefix,
        segments=format.segments,
        end_id=format.end_id,
        fixed_segment_id=converter.fixed_segment_id,
        fold=converter.folds_pitches,
        reject=converter.rejects_transpositions,
        rearrange=converter.rearranged if converter.rearranges else None,
        **settings,
    )


def held_out_batches(size: int, batch_size: int, replicas: int) -> tuple[int, int]:
    """Splits `size` held-out examples into batches of equal size, without repetition.

    Returns:
        The batch size, at most `batch_size` and a multiple of `replicas`, and the number of
        batches; fewer than batches * replicas examples are dropped. (0, 0) if there are fewer
        examples than replicas.
    """
    if size < replicas:
        return 0, 0
    count = -(-size // batch_size)
    return size // count // replicas * replicas, count
