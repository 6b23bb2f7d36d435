"""The data of priors: the codes of a VQ-VAE, cut into contexts, with labels."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.converters.codes import CodesConverter
from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.labels import LabelNames, PieceLabels
from magenta_lite.modeling.examples import Examples
from magenta_lite.modeling.family import EncodedData, EncodedPiece, Facts, OpenFacts

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.families.vqvae.coding import Coder
    from magenta_lite.families.vqvae.model import VQVAE

OVERLAP = 4  # context length / hop length of contexts


class CodesData(EncodedData):
    """Contexts of the codes of a VQ-VAE."""

    run_field = "vqvae"
    run_about = "the VQ-VAE whose codes it models"

    def completed(
        self, config: ExperimentConfig, encoder: ExperimentConfig, facts: OpenFacts
    ) -> ExperimentConfig:
        """Returns a prior's config with the VQ-VAE's sizes, and the names of artists and genres.

        Names that the config gives are kept; otherwise they are the most frequent ones of the data.
        """
        _check_vqvae(config, encoder)
        sizes, converter, model = encoder.model, config.converter, config.model
        shared = {
            "codes": sizes.codes,
            "hop": sizes.hop_lengths[converter.level],
            "sample_rate": encoder.converter.sample_rate,
        }
        if sizes.quantizers > 1:
            shared["quantizers"] = sizes.quantizers
        data = config.data
        if not data.source:
            source, group_by = encoder.data.source, encoder.data.group_by
            data = dataclasses.replace(data, source=source, group_by=group_by)
        artists, genres = converter.artist_names, converter.genre_names
        if model.labelled and not artists and not genres:
            pieces = facts(data)
            artists = _most_frequent(pieces, "artist", model.artists)
            genres = _most_frequent(pieces, "genre", model.genres)
        converter = dataclasses.replace(
            converter,
            vqvae=str(self.run_dir(config)),
            channels=sizes.channels,
            artist_names=artists,
            genre_names=genres,
            **shared,
        )
        model = dataclasses.replace(model, **shared)
        return dataclasses.replace(config, converter=converter, model=model, data=data)

    def encoder(self, model: VQVAE) -> Coder:
        from magenta_lite.families.vqvae.coding import Coder  # imports TensorFlow

        return Coder(model)

    def examples(
        self, config: ExperimentConfig, pieces: Iterable[EncodedPiece], facts: Facts, report: Report
    ) -> Examples:
        """Returns contexts that overlap by three quarters.

        They have the extras `labels` and `above` if the model reads them. The facts of a piece are
        its artist, genre, lyrics and length in samples.
        """
        converter, model = config.converter, config.model
        length, ratio = converter.context, converter.above_ratio
        step = max(length // OVERLAP // ratio * ratio, ratio)
        label_names = LabelNames.of(converter.artist_names, converter.genre_names)
        events, names, labels, above = [], [], [], []
        for name, levels in pieces:
            codes = levels[converter.level]
            if len(codes) < length:
                seconds = converter.sample_length / converter.sample_rate
                report.drop(
                    f"sound shorter than a context, {length} codes or {seconds:.1f} s", name
                )
                continue
            of_piece: Any = None
            if model.labelled:
                of_piece = _labels(config, label_names, facts.get(name, {}), len(codes))
                seconds = of_piece.total / converter.sample_rate
                if model.time_bins and not model.min_duration <= seconds < model.max_duration:
                    limits = f"{model.min_duration:g} to {model.max_duration:g}"
                    report.drop(f"sound not of {limits} s", name)
                    continue
            last = (len(codes) - length) // ratio * ratio
            for start in sorted({*range(0, last + 1, step), last}):
                events.append(codes[start : start + length])
                names.append(name)
                if model.labelled:
                    labels.append(of_piece.vector(model, start))
                if ratio > 1:
                    above.append(levels[converter.level + 1][start // ratio :][: length // ratio])
        report.keep("contexts", len(names))
        widths = {"labels": model.label_size, "above": length // ratio if ratio > 1 else 0}

        def array(rows, *shape):
            return np.array(rows, np.int32).reshape(len(names), *shape)

        extras = {"labels": labels, "above": above}
        return Examples(
            array(events, length, *CodesConverter(converter).event_format.event_shape),
            np.full(len(names), length, np.int32),
            names,
            extras={name: array(extras[name], size) for name, size in widths.items() if size},
        )


def _labels(
    config: ExperimentConfig, names: LabelNames, facts: Mapping[str, Any], codes: int
) -> PieceLabels:
    """Returns the labels of a piece with a number of codes."""
    total = max(int(facts.get("samples", 0)), codes * config.converter.hop)
    words = {field: facts.get(field, "") for field in ("artist", "genre", "lyrics")}
    return PieceLabels.of(names, config.model, total, **words)


def _check_vqvae(config: ExperimentConfig, vqvae: ExperimentConfig) -> None:
    """Raises: UserError if a prior does not fit a VQ-VAE."""
    converter, model, sizes = config.converter, config.model, vqvae.model
    path, level = converter.vqvae, converter.level
    if vqvae.family != "vqvae":
        raise UserError(f"--vqvae={path} is a {vqvae.family} run ({vqvae.name}), not a VQ-VAE")
    if (sizes.quantizers > 1) != (model.quantizers > 1):
        counts = sizes.quantizers, model.quantizers
        there, wanted = (f"{n} codes" if n > 1 else "one" for n in counts)
        raise UserError(
            f"--vqvae={path} encodes a frame as {there}, and {config.name} models {wanted}; a "
            "residual VQ-VAE (rvqvae_…) goes with a jukebox_delay_…, any other with other priors"
        )
    upsampler = model.above_ratio > 1
    if level >= sizes.levels or (upsampler and level + 1 >= sizes.levels):
        what = f"level above {level}" if upsampler else f"level {level}"
        raise UserError(f"{path} has no {what}; its levels are 0 to {sizes.levels - 1}")
    hops = sizes.hop_lengths
    if upsampler and hops[level + 1] != hops[level] * model.above_ratio:
        raise UserError(
            f"{config.name} writes {model.above_ratio} codes for one above, and {path} has "
            f"{hops[level + 1] // hops[level]}; --set model.conditioner_stages to fit"
        )


def _most_frequent(facts: Facts, field: str, rows: int) -> tuple[str, ...]:
    """Returns the most frequent names, at most `rows` - 1: one row of the table is for unknown."""
    counts = Counter(piece[field] for piece in facts.values() if piece.get(field))
    names = sorted(counts, key=lambda name: (-counts[name], name))
    if len(names) >= rows:
        print(
            f"{len(names)} {field}s, and the model distinguishes {rows - 1}: the rarest "
            f"{len(names) - rows + 1} are unknown to it; --set model.{field}s={len(names) + 1}",
            file=sys.stderr,
        )
    return tuple(names[: rows - 1])
