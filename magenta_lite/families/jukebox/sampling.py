"""Sampling of codes one by one with a cache, and of pieces of any length window by window.

Shape letters: B rows, N codes, L context length in tokens. For a `DelayPrior`, "codes" are frames:
arrays of codes and of tokens have an additional axis of codebooks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.windows import Window, plan_windows
from magenta_lite.graphs import graph_function, inner_graph, replaced_at
from magenta_lite.modeling.sampling import Sampler, uniforms_of
from magenta_lite.typing import Tensor

if TYPE_CHECKING:
    from magenta_lite.families.jukebox.delay import DelayPrior
    from magenta_lite.families.jukebox.model import JukeboxPrior

CHUNK = 32  # tokens of a prompt that are read per step


def write_window(
    model: JukeboxPrior | DelayPrior,
    given: ArrayLike,
    total: int,
    seeds: ArrayLike,
    sampler: Sampler,
    labels: ArrayLike | None = None,
    above: ArrayLike | None = None,
    chunk: int = CHUNK,
    compiled: bool = True,
) -> np.ndarray:
    """Continues codes within one context.

    Args:
        model: A `JukeboxPrior`, `JukeboxUpsampler` or `DelayPrior`.
        given: The prompt, int (B, P), P from 0 to `total`.
        total: Number of codes N of the result, at most the context length.
        seeds: Int (B, 2); a code depends on the seed of its row and on the codes before it.
        sampler: How codes are drawn.
        labels: Int (B, `label_size`), of this context; None for a model without.
        above: Int (B, context / ratio), for an upsampler. Codes above those from N on matter only
            within the receptive field of the conditioner.
        chunk: Tokens of the prompt that are read per step.
        compiled: Whether XLA compiles the loop: ten times as fast on a CPU, after a compilation
            for each B.

    Returns:
        Int32 (B, N).

    Raises:
        UserError: If lengths or the conditioning do not fit the model.
    """
    sizes, given = model.sizes, np.asarray(given, np.int32)
    rows, count = given.shape[:2]
    if not count <= total <= sizes.context:
        raise UserError(
            f"{count} codes cannot be continued to {total}: a context has {sizes.context}"
        )
    labels = _checked("labels", labels, (rows, sizes.label_size), sizes.labelled)
    ratio = sizes.above_ratio
    above = _checked("codes above", above, (rows, sizes.context // ratio), model.upsamples)
    if count == total:
        return given
    room = [[0, 0], [0, sizes.context - count], [0, 0]]
    codes = tf.constant(np.pad(given, room[: given.ndim]))
    prepared = _prepared(model, codes, labels, above, tf.constant(seeds, tf.int32))
    found = (_write_compiled if compiled else _write_plain)(
        model,
        *prepared,
        tf.constant(count),
        tf.constant(total),
        sampler.tensors(),
        min(chunk, model.music.longest_step),
    )
    return found.numpy()[:, :total]


def written(
    model: JukeboxPrior | DelayPrior,
    given: Tensor,
    count: Tensor,
    total: Tensor,
    seeds: Tensor,
    sampler: Sampler,
    labels: Tensor | None,
    above: Tensor | None,
) -> Tensor:
    """Does the same as `write_window` as part of a graph, with prompts of dynamic length.

    The arguments are those of `write_window`, as int32 tensors, and `count`, the length of the
    prompts: a scalar, or (B,) where rows differ.

    Returns:
        Int32 (B, context), with new codes from `count` to `total`.
    """
    context, more = model.sizes.context, given.shape[2:]
    codes = tf.pad(given, [[0, 0], [0, context], *[[0, 0]] * len(more)])[:, :context]
    codes = tf.ensure_shape(codes, [None, context, *more])
    if count.shape.rank:
        count = tf.reshape(count, [-1, *[1] * len(more)])
    ids, conditioning, uniforms = _prepared(model, codes, labels, above, seeds)
    chunk = min(CHUNK, model.music.longest_step)
    return _write(model, ids, conditioning, uniforms, count, total, sampler, chunk)


def _checked(what: str, value, shape, needed: bool):
    if not needed:
        return None
    shown = None if value is None else np.shape(value)
    if shown != shape:
        raise UserError(f"The model needs {what} of shape {list(shape)}, given are {shown}")
    return tf.constant(np.asarray(value, np.int32))


# Not compiled by XLA: its random numbers differ, and its convolutions are slow on CPUs.
@inner_graph
def _prepared(model, codes, labels, above, seeds):
    """Returns tokens int32 (B, L), the conditioning, and float32 (B, L) in [0, 1)."""
    conditioning = model.conditioning(labels, above)
    ids = model.tokens(codes, conditioning.lyrics)
    return ids, conditioning, uniforms_of(seeds, ids.shape[1:])


def _write(model, ids, conditioning, uniforms, given, total, sampler: Sampler, chunk: int):
    """Returns codes int32 (B, context), with new codes from `given` to `total`."""
    music = model.music
    cache = music.init_cache(tf.shape(ids)[0], conditioning.memory)

    def step(ids, first, count, cache):
        return music.step(ids, first, count, cache, conditioning.start, conditioning.condition)

    def read(first, cache):
        return first + chunk, step(ids, first, chunk, cache)[1]

    def write(position, ids, cache):
        x, cache = step(ids, position, 1, cache)
        condition = conditioning.condition
        if condition is not None:
            condition = tf.gather(condition, position[None], axis=1)
        logits = music.logits(x, condition)[:, 0]
        drawn, _ = sampler.draw(logits, tf.gather(uniforms, position, axis=1))
        # The last tokens of the prompt, fewer than a chunk, are read here.
        code = model.code_at(position)
        kept = (code < given) | (code >= model.sizes.context)
        new = tf.where(kept, tf.gather(ids, position, axis=1), drawn)
        return position + 1, replaced_at(ids, position, new), cache

    first, cache = tf.while_loop(
        lambda first, _: tf.reduce_all(model.code_at(first + chunk - 1) < given),
        read,
        (0, cache),
        parallel_iterations=1,
    )
    _, ids, _ = tf.while_loop(
        lambda position, *_: tf.reduce_any(model.code_at(position) < total),
        write,
        (first, ids, cache),
        parallel_iterations=1,
    )
    return model.codes_of(ids)


_write_plain = graph_function(_write)
_write_compiled = inner_graph(_write, jit_compile=True)


def row_seeds(seed: int, rows: int, start: int) -> np.ndarray:
    """Returns the seeds int32 (B, 2) of the window at `start`, independent of the other rows."""
    pairs = [
        tf.random.stateless_uniform([2], [seed, row], None, None, tf.int32).numpy()
        for row in range(rows)
    ]
    return (np.stack(pairs).astype(np.int64) + np.array([0, start])).astype(np.int32)


def write_level(
    model: JukeboxPrior | DelayPrior,
    codes: ArrayLike,
    total: int,
    hop: int,
    seed: int = 0,
    sampler: Sampler | None = None,
    labels_at: Callable[[int], np.ndarray] | None = None,
    above: ArrayLike | None = None,
    after_window: Callable[[np.ndarray, Window], None] | None = None,
    rows_at_once: int = 0,
    compiled: bool = True,
) -> np.ndarray:
    """Generates the codes of a level, window by window.

    The result does not depend on `rows_at_once`. An interrupted call is resumed by a call with the
    last codes that `after_window` received.

    Args:
        model: As of `write_window`.
        codes: Int (B, P), the codes so far; P = 0 for none.
        total: Final number of codes N.
        hop: Hop length between windows in codes.
        seed: Seed of all random numbers.
        sampler: How codes are drawn; None for temperature 1.
        labels_at: Returns, for the first code of a window, its labels int (B, `label_size`).
        above: Int (B, at least N / ratio), for an upsampler.
        after_window: Called with the codes so far and the finished window, to save them.
        rows_at_once: Batch size of the model; 0 for all rows.
        compiled: As of `write_window`.

    Returns:
        Int32 (B, N), or `codes` if they are longer.

    Raises:
        UserError: If lengths do not fit.
    """
    sizes = model.sizes
    codes, sampler = np.asarray(codes, np.int32), sampler or Sampler()
    rows, ratio = codes.shape[0], sizes.above_ratio
    if above is not None:
        above, needed = np.asarray(above, np.int32), max(total, sizes.context) // ratio
        if above.shape[1] < needed:
            raise UserError(
                f"{total} codes need {needed} codes of the level above, there are "
                f"{above.shape[1]}; a window of {sizes.context} codes needs "
                f"{sizes.context // ratio}"
            )
    for window in plan_windows(total, sizes.context, hop, codes.shape[1], ratio):
        seeds = row_seeds(seed, rows, window.start)
        labels = None if labels_at is None else np.asarray(labels_at(window.start))
        first = window.start // ratio
        there = None if above is None else above[:, first : first + sizes.context // ratio]
        size = rows_at_once or rows
        parts = [
            write_window(
                model,
                codes[part, window.start :],
                window.stop - window.start,
                seeds[part],
                sampler,
                None if labels is None else labels[part],
                None if there is None else there[part],
                compiled=compiled,
            )
            for part in (slice(row, row + size) for row in range(0, rows, size))
        ]
        codes = np.concatenate([codes[:, : window.start], np.concatenate(parts)], axis=1)
        if after_window is not None:
            after_window(codes, window)
    return codes
