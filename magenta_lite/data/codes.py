"""Sound as the codes of a VQ-VAE: encoded once, cached on disk, cut into contexts for priors."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.config import DataConfig, ExperimentConfig, load_config
from magenta_lite.converters.audio import pieces
from magenta_lite.converters.base import Report
from magenta_lite.converters.codes import CodesConverter
from magenta_lite.data import building, stored
from magenta_lite.data.collections import Collection, Examples
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.files import replaced

SHARD = 64  # pieces in a file
OVERLAP = 4  # contexts start at every quarter of a context
LINE_EVERY = 5.0  # seconds between two lines of progress


def completed(
    config: ExperimentConfig, open_sound: Callable[[DataConfig, Any], Collection]
) -> ExperimentConfig:
    """Returns the config of a prior, completed from its VQ-VAE and its data.

    Fills in the codebook size, the hop length, the sample rate, and the artist and genre names.

    Args:
        config: Its `converter.vqvae` is the run directory of a VQ-VAE.
        open_sound: Returns the collection for a data section and a converter section.

    Raises:
        UserError: If there is no such run, or the config does not fit it.
    """
    converter, model = config.converter, config.model
    if not converter.vqvae:
        raise UserError("--vqvae is missing: the run directory of the VQ-VAE that makes the codes")
    path = Path(converter.vqvae).expanduser().resolve()
    vqvae = load_config(path / "config.yaml")
    if vqvae.family != "vqvae":
        raise UserError(f"--vqvae={path} is a {vqvae.family} run ({vqvae.name}), not a VQ-VAE")
    sizes, level = vqvae.model, converter.level
    if (sizes.quantizers > 1) != (model.quantizers > 1):
        counts = sizes.quantizers, model.quantizers
        there, wanted = (f"{n} codes" if n > 1 else "one" for n in counts)
        raise UserError(
            f"--vqvae={path} tells each frame in {there}, and {config.name} reads {wanted}; a "
            "residual VQ-VAE (rvqvae_…) goes with a jukebox_delay_…, any other with other priors"
        )
    upsampler = model.above_ratio > 1
    if level >= sizes.levels or (upsampler and level + 1 >= sizes.levels):
        what = f"the codes above level {level}" if upsampler else f"a level {level}"
        raise UserError(f"{path} has no {what}, its levels are 0 to {sizes.levels - 1}")
    hops = sizes.hop_lengths
    if upsampler and hops[level + 1] != hops[level] * model.above_ratio:
        raise UserError(
            f"{config.name} writes {model.above_ratio} codes for one above, and {path} has "
            f"{hops[level + 1] // hops[level]}; --set model.conditioner_stages to fit"
        )
    facts = {"codes": sizes.codes, "hop": hops[level], "sample_rate": vqvae.converter.sample_rate}
    data = dataclasses.replace(config.data, source=config.data.source or vqvae.data.source)
    artists, genres = (), ()
    if model.labelled:
        collection = open_sound(data, vqvae.converter)
        artists = _names(collection, "artist", model.artists)
        genres = _names(collection, "genre", model.genres)
    converter = dataclasses.replace(
        converter,
        vqvae=str(path),
        channels=sizes.channels,
        quantizers=sizes.quantizers,
        artist_names=artists,
        genre_names=genres,
        **facts,
    )
    if sizes.quantizers > 1:
        facts["quantizers"] = sizes.quantizers
    model = dataclasses.replace(model, **facts)
    return dataclasses.replace(config, converter=converter, model=model, data=data)


def _names(collection: Collection, field: str, rows: int) -> tuple[str, ...]:
    """Returns the most frequent names, at most `rows` - 1: one row of the table is for unknown."""
    counts = Counter(facts[field] for facts in collection.facts.values() if facts.get(field))
    names = sorted(counts, key=lambda name: (-counts[name], name))
    if len(names) >= rows:
        print(
            f"{len(names)} {field}s, and the model can tell {rows - 1} apart: the rarest "
            f"{len(names) - rows + 1} are unknown to it; --set model.{field}s={len(names) + 1}",
            file=sys.stderr,
        )
    return tuple(names[: rows - 1])


@dataclasses.dataclass(frozen=True)
class CodedPiece:
    """An encoded piece.

    Attributes:
        name: Name of the piece.
        codes: Int32 (S,), or (S, N) for N codebooks, of each level, the finest first.
    """

    name: str
    codes: list[np.ndarray]


class CodeCollection:
    """A collection of encoded sound, as priors and upsamplers read it.

    Args:
        config: A config from `completed`.
        sound: The collection of sound.
        folder: Folder of its codes.
    """

    def __init__(self, config: ExperimentConfig, sound: Collection, folder: Path):
        self._config = config
        self._sound = sound
        self._folder = folder
        self._loaded: dict[str, Examples] = {}
        self.name = f"{sound.name}, {folder.name}"
        self.report = Report()

    @property
    def sizes(self) -> dict[str, int]:
        """Examples of each split."""
        return {name: len(self.split(name)) for name in building.SPLITS}

    def split(self, name: str) -> Examples:
        """Returns the contexts of a split, with extras `labels` and `above` if the model has them.

        Raises:
            UserError: If there is no split `name`.
        """
        if name not in building.SPLITS:
            raise unknown_name("split", name, building.SPLITS)
        if name not in self._loaded:
            coded = read_codes(self._folder, name)
            self._loaded[name] = contexts(self._config, coded, self._sound.facts, self.report)
        return self._loaded[name]


def open_codes(config: ExperimentConfig, sound: Collection, vqvae: Any) -> CodeCollection:
    """Returns the codes of a config's data, and encodes the data if necessary.

    The codes are stored beside the built data set of sound, once for each VQ-VAE. Interrupted
    encoding resumes after the last complete file.

    Args:
        config: A config from `completed`.
        sound: The collection of sound.
        vqvae: The trained model.

    Raises:
        UserError: If every piece is shorter than a context.
    """
    from magenta_lite.modeling.music_model import fingerprint  # imports TensorFlow

    folder = sound.folder.parent / f"{stored.CODES}{fingerprint(vqvae)}"
    for split in building.SPLITS:
        _code(vqvae, sound, split, folder)
    collection = CodeCollection(config, sound, folder)
    if not collection.sizes["train"]:
        seconds = config.converter.sample_length / config.converter.sample_rate
        raise UserError(
            f"No piece of {config.data.source} makes an example: a context of "
            f"{config.converter.context} codes is {seconds:.1f} s.\n{collection.report.table()}"
        )
    return collection


def _code(model: Any, sound: Collection, split: str, folder: Path) -> None:
    """Encodes a split of a collection of sound into files of `SHARD` pieces each."""
    index = folder / f"{split}.json"  # written last
    if index.is_file():
        return
    from magenta_lite.families.vqvae.coding import Coder

    coder = Coder(model)
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(set(sound.split(split).pieces or ()))
    shards = -(-len(names) // SHARD)
    began = printed = time.monotonic()
    done, shard = 0, []
    for number, (name, samples) in enumerate(pieces(sound.split(split)) if names else ()):
        path = folder / f"{split}-{number // SHARD:05}.npz"
        if not path.is_file():
            shard.append(CodedPiece(name, coder.encode(samples)))
            done += len(samples)
            if number % SHARD == SHARD - 1 or number == len(names) - 1:
                _write_shard(path, shard)
                shard = []
        if time.monotonic() - printed > LINE_EVERY:
            printed = time.monotonic()
            speed = done / model.sample_rate / (printed - began)
            building.say(f"Coding {split}: {number + 1} of {len(names)} pieces, {speed:.1f} s a s")
    with replaced(index) as partial:
        partial.write_text(json.dumps({"shards": shards}))


def _write_shard(path: Path, shard: list[CodedPiece]) -> None:
    arrays: dict[str, Any] = {
        f"{i}/{level}": codes
        for i, piece in enumerate(shard)
        for level, codes in enumerate(piece.codes)
    }
    with replaced(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, names=np.array([piece.name for piece in shard]), **arrays)


def read_codes(folder: Path, split: str) -> Iterator[CodedPiece]:
    """Yields the pieces of an encoded split."""
    for number in range(json.loads((folder / f"{split}.json").read_text())["shards"]):
        with np.load(folder / f"{split}-{number:05}.npz") as arrays:
            levels = len({name.partition("/")[2] for name in arrays.files if "/" in name})
            for i, name in enumerate(arrays["names"]):
                yield CodedPiece(str(name), [arrays[f"{i}/{level}"] for level in range(levels)])


def contexts(
    config: ExperimentConfig,
    coded: Iterable[CodedPiece],
    facts: dict[str, dict[str, Any]],
    report: Report,
) -> Examples:
    """Cuts encoded pieces into contexts that overlap by three quarters.

    Args:
        config: A config from `completed`.
        coded: The pieces.
        facts: Artist, genre, lyrics and length in samples of each piece, by its name.
        report: Counts the pieces that are dropped.
    """
    from magenta_lite.families.jukebox.labels import LabelNames, PieceLabels

    converter, model = config.converter, config.model
    length, ratio = converter.context, converter.above_ratio
    step = max(length // OVERLAP // ratio * ratio, ratio)
    label_names = LabelNames.of(converter.artist_names, converter.genre_names)
    rows, names, labels, above = [], [], [], []
    for piece in coded:
        codes, about = piece.codes[converter.level], facts.get(piece.name, {})
        if len(codes) < length:
            report.drop(f"sound shorter than the {length} codes of a context", piece.name)
            continue
        piece_labels = None
        if model.labelled:
            samples = max(int(about.get("samples", 0)), len(codes) * converter.hop)
            words = {name: about.get(name, "") for name in ("artist", "genre", "lyrics")}
            piece_labels = PieceLabels.of(label_names, model, samples, **words)
            seconds = samples / converter.sample_rate
            if model.time_bins and not model.min_duration <= seconds < model.max_duration:
                report.drop(
                    f"sound not of {model.min_duration:g} to {model.max_duration:g} s", piece.name
                )
                continue
        last = (len(codes) - length) // ratio * ratio
        for start in sorted({*range(0, last + 1, step), last}):
            rows.append(codes[start : start + length])
            names.append(piece.name)
            if piece_labels is not None:
                labels.append(piece_labels.vector(model, start))
            if ratio > 1:
                first = start // ratio
                above.append(piece.codes[converter.level + 1][first : first + length // ratio])
    report.keep("contexts", len(rows))
    widths = {"labels": model.label_size, "above": length // ratio if ratio > 1 else 0}
    extras = {
        name: np.array(values, np.int32).reshape(len(rows), widths[name])
        for name, values in (("labels", labels), ("above", above))
        if widths[name]
    }
    events = np.array(rows, np.int32)
    events = events.reshape(len(rows), length, *CodesConverter(converter).event_format.event_shape)
    return Examples(events, np.full(len(rows), length, np.int32), names, extras=extras)
