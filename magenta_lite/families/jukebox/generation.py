"""Generation with a prior: sampling of codes, unconditionally or after a prompt, and their sound.

The codes are saved after every window. The same command resumes an interrupted piece; any other
one begins a new piece.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from magenta_lite.converters.audio import Audio
from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.labels import LabelNames, PieceLabels
from magenta_lite.families.jukebox.sampling import write_level
from magenta_lite.families.vqvae.coding import Coder
from magenta_lite.modeling.music_model import fingerprint
from magenta_lite.modeling.sampling import Sampler

if TYPE_CHECKING:
    from magenta_lite.converters.codes import CodesConverter
    from magenta_lite.families.jukebox.delay import DelayPrior
    from magenta_lite.families.jukebox.model import JukeboxPrior
    from magenta_lite.families.jukebox.options import PriorOptions
    from magenta_lite.families.jukebox.windows import Window

SECONDS = 2.0  # minimum time between two lines of progress
TOP_HOP, HOP = 8, 2  # context length / hop length of windows: of the top level, of the others


def generate(
    model: JukeboxPrior | DelayPrior, options: PriorOptions, converter: CodesConverter
) -> list[dict[str, Audio]]:
    """Returns the sounds of `options.num_outputs` pieces, decoded from each generated level.

    Raises:
        UserError: If an input is missing, or a run does not match the prior.
    """
    if model.upsamples:
        raise UserError(
            "This run is an upsampler: give the run of a prior as --run_dir, and this as "
            "--upsamplers"
        )
    options.check(converter)
    vqvae = options.runs[converter.config.vqvae].model
    coder, hops = Coder(vqvae), vqvae.hop_lengths
    writers = [(model, converter), *_upsamplers(options, converter)]
    writers.sort(key=lambda pair: -pair[1].config.level)
    levels = [converter.config.level for _, converter in writers]
    if levels != list(range(levels[0], levels[-1] - 1, -1)):
        raise UserError(f"The runs write levels {levels}; each must follow the one above it")

    rate, rows = converter.sample_rate, options.num_outputs
    samples = round(options.total_seconds * rate)
    weights = [fingerprint(model) for model in (vqvae, *(writer for writer, _ in writers))]
    prompt = _prompt(coder, hops[-1], options, converter, levels)
    piece = Piece(options, weights, levels, prompt)
    # No level is shorter than the longest context of an upsampler.
    longest = [each.config.sample_length for model, each in writers if model.upsamples]
    whole = -(-max([samples, *longest]) // hops[-1]) * hops[-1]
    prompted = max(codes.shape[1] * hops[level] for level, codes in prompt.items())
    if samples <= prompted:
        raise UserError(
            f"--total_seconds={options.total_seconds:g} counts the prompt, which is as long; ask "
            "for more, or give less of it with --prompt_seconds"
        )
    for place, (writer, its) in enumerate(writers):
        config, sizes = its.config, writer.sizes
        total, ratio = whole // config.hop, sizes.above_ratio
        parts = HOP if writer.upsamples else TOP_HOP
        step = max(sizes.context // parts // ratio * ratio, ratio)
        write_level(
            writer,
            piece.codes[config.level],
            total,
            step,
            seed=piece.seed + config.level,
            sampler=Sampler.of(options)._replace(temperature=options.temperature_of(place)),
            labels_at=_labels(writer, config, options, whole, rows),
            above=piece.codes.get(config.level + 1) if writer.upsamples else None,
            after_window=piece.saver(config, total),
        )
    markers = ((prompted / rate, "continuation"),) if prompted else ()

    def sound(row: int, level: int) -> Audio:
        return Audio(coder.decode(piece.codes[level][row], level)[:samples], rate, markers)

    return [
        {f"level-{level}": sound(row, level) for level in reversed(levels)} for row in range(rows)
    ]


def _upsamplers(options, converter) -> list:
    """Returns pairs (model, converter). Raises: UserError if a run is not a matching upsampler."""
    pairs = []
    for path in getattr(options, "upsamplers", ()):
        run = options.runs[path]
        if run.config.family != "jukebox" or not run.model.upsamples:
            raise UserError(f"--upsamplers: {path} is not the run of an upsampler")
        if run.config.converter.vqvae != converter.config.vqvae:
            raise UserError(
                f"--upsamplers: {path} writes codes of {run.config.converter.vqvae}, the prior "
                f"those of {converter.config.vqvae}"
            )
        pairs.append((run.model, run.converter))
    return pairs


def _prompt(coder: Coder, hop: int, options, converter, levels) -> dict[int, np.ndarray]:
    """Returns the prompt of each level as codes int32 (N, P), or (N, P, Q) of several codebooks."""
    rows, rate = options.num_outputs, converter.sample_rate
    if options.mode == "sample":
        shape = (rows, 0, *converter.event_format.event_shape)
        return {level: np.zeros(shape, np.int32) for level in levels}
    ((_, audio),) = options.inputs
    samples = min(round(options.prompt_seconds * rate), len(audio.samples)) // hop * hop
    if not samples:
        raise UserError(f"The prompt is shorter than a code of {hop / rate:.3f} s; give more of it")
    codes = coder.encode(audio.samples[:samples])
    return {level: np.repeat(codes[level][None], rows, axis=0) for level in levels}


def _labels(writer, config, options, whole: int, rows: int):
    """Returns a function from the start of a window to its labels; None for a model without."""
    sizes = writer.sizes
    if not sizes.labelled:
        return None
    names = LabelNames.of(config.artist_names, config.genre_names)
    if not writer.upsamples:
        for name in names.unknown(options.artist, options.genre):
            near = difflib.get_close_matches(name, [*names.artists, *names.genres], 3, 0.4)
            hint = f"; known are e.g. {', '.join(near or [*names.artists, *names.genres][:5])}"
            print(f"The model does not know {name!r}{hint}", file=sys.stderr)
    least = int(np.ceil(sizes.min_duration * sizes.sample_rate)) if sizes.time_bins else 0
    words = {name: getattr(options, name) for name in ("artist", "genre", "lyrics")}
    labels = PieceLabels.of(names, sizes, max(whole, least), **words)
    return lambda start: np.repeat(labels.vector(sizes, start)[None], rows, axis=0)


class Piece:
    """The codes generated so far, saved so that the same options resume them.

    Args:
        options: The options; `options.unfinished` saves the codes.
        weights: Fingerprints of the models; only codes of the same models are resumed.
        levels: The levels to generate, from the top.
        prompt: Int32 (N, P, ...) of each level.

    Attributes:
        codes: Int32 (N, S, ...) of each level, so far.
        seed: Seed of the resumed codes, or of the options.
    """

    def __init__(
        self,
        options: PriorOptions,
        weights: Sequence[str],
        levels: Sequence[int],
        prompt: dict[int, np.ndarray],
    ):
        self._kept = options.unfinished
        self.codes, self.seed = dict(prompt), options.seed
        if self._kept is None:
            return
        asked = dataclasses.asdict(options.replace(inputs=(), seed=0, unfinished=None, runs={}))
        given = {str(level): codes[:1].tolist() for level, codes in prompt.items()}
        more = {"weights": weights, "levels": levels, "prompt": given}
        there = self._kept.resume(json.dumps(asked | more, sort_keys=True))
        if there:
            self.codes = {level: there[str(level)] for level in levels}
            self.seed = self._kept.seed
            print(f"Going on from {self._kept.path}, of seed {self.seed}", file=sys.stderr)

    def keep(self, level: int, codes: np.ndarray) -> None:
        """Saves the current codes of a level."""
        self.codes[level] = codes
        if self._kept is not None:
            self._kept.keep({str(level): codes for level, codes in self.codes.items()})

    def saver(self, config: Any, total: int) -> Callable[[np.ndarray, Window], None]:
        """Returns a function that saves the codes after a window, and prints the progress.

        `config` is the converter section of the level, `total` its final number of codes.
        """
        level, second = config.level, config.sample_rate / config.hop
        start, began = self.codes[level].shape[1], time.monotonic()
        printed = began

        def after_window(codes: np.ndarray, window: Window) -> None:
            nonlocal printed
            self.keep(level, codes)
            now, done = time.monotonic(), codes.shape[1]
            if now - printed < SECONDS and done < total:
                return
            printed = now
            speed = (done - start) / max(now - began, 1e-9)
            print(
                f"Level {level}: {done / second:.1f} of {total / second:.1f} s, "
                f"{codes.shape[0] * speed / second:.2f} s of sound a second, "
                f"{(total - done) / speed:,.0f} s left",
                file=sys.stderr,
            )

        return after_window
