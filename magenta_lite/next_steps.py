"""Suggests commands to continue with after a run was trained or imported."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magenta_lite import presets
from magenta_lite.config import ExperimentConfig, config_names, get_config, load_config
from magenta_lite.converters.converter import EXAMPLE
from magenta_lite.errors import UserError
from magenta_lite.families import FAMILIES
from magenta_lite.modeling.options import options_of
from magenta_lite.serving.versions import holds_only_versions
from magenta_lite.shell import command

EXAMPLE_SECONDS = 10.0  # length of an example of sound


def next_steps(
    run_dir: Path,
    config: ExperimentConfig,
    converter: Any,
    collection: Any = None,
    data_dir: str | None = None,
) -> list[str]:
    """Returns commands, and writes their input, if they need any, into the run directory.

    `collection` is the training data, None for an imported model; `data_dir` is the folder of
    built data sets, None for the default.
    """
    data = [f"--data_dir={data_dir}"] if data_dir else []
    family = FAMILIES[config.family]
    encoded = family.encoded_data
    if encoded and not encoded.run_dir(config):
        missing = f"# generate needs {encoded.run_about}"
        steps = [f"{missing}: import this again with --{encoded.run_field}=RUN"]
    elif "upsamplers" in options_of(family.options_class):
        steps = _with_upsamplers(run_dir, config, data)
    else:
        needed = (*converter.generate_flags, *config.model.generate_flags)
        if any(EXAMPLE in flag for flag in needed):
            path = str(write_example(run_dir, converter, collection))
            needed = [flag.replace(EXAMPLE, path) for flag in needed]
        steps = [command("generate", f"--run_dir={run_dir}", *needed)]
    if collection is not None:
        steps.append(command("evaluate", f"--run_dir={run_dir}", *data))
    steps.append(command("export", f"--run_dir={run_dir}", f"--output={_exported(run_dir.name)}"))
    return steps


def _exported(name: str) -> Path:
    """Returns a path for the versions of a SavedModel, which holds nothing else."""
    places = (Path("exported", name if i == 1 else f"{name}-{i}") for i in range(1, 10_000))
    return next(place for place in places if holds_only_versions(place))


# An example of what a model reads --------------------------------------------------------------


def write_example(run_dir: Path, converter: Any, collection: Any = None) -> Path:
    """Writes a held-out or synthetic piece, and returns its path, `example.mid` or `.wav`."""
    sound = converter.event_format.kind == "audio"
    path = run_dir / ("example.wav" if sound else "example.mid")
    if sound:
        from magenta_lite.data.audio import write_audio

        return write_audio(path, converter.decode(_held_out_sound(converter, collection)))
    import note_seq

    examples = _held_out(collection)
    events = examples.events[0][: examples.lengths[0]] if examples else _beat(converter)
    note_seq.sequence_proto_to_midi_file(converter.decode(events), str(path))
    return path


def _held_out(collection: Any) -> Any:
    """Returns the first non-empty split of test, validation and training; None without any."""
    if collection is None:
        return None
    splits = map(collection.split, ("test", "validation", "train"))
    return next((split for split in splits if len(split)), None)


def _held_out_sound(converter: Any, collection: Any) -> np.ndarray:
    """Returns samples int16 (T, channels) of a piece, or of a synthetic chord."""
    from magenta_lite.converters.audio import pieces, to_int16

    samples = round(EXAMPLE_SECONDS * converter.sample_rate)
    examples = _held_out(collection)
    if examples is not None:
        return next(pieces(examples))[1][:samples]
    time = np.arange(samples)[:, None] / converter.sample_rate
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220.0, 277.2, 329.6))
    return to_int16(np.repeat(np.float32(0.2 * tones), converter.channels, axis=1))[0]


def _beat(converter: Any) -> np.ndarray:
    """Returns a simple drum beat as events of a `GrooveConverter`, float32 (T, 27)."""
    kick, snare, hat = 0, 1, 2
    groove = np.zeros((converter.window_steps, 3, converter.event_format.sizes[0]), np.float32)
    for drum, steps in ((hat, range(0, 16, 2)), (kick, (0, 8, 10)), (snare, (4, 12))):
        for step in steps:
            groove[step :: converter.steps_per_bar, :2, drum] = 1.0, 0.7  # hit, velocity
    return groove.reshape(len(groove), -1)


# Runs over the codes of one VQ-VAE ---------------------------------------------------------------


class CodesRun(NamedTuple):
    """A run of a model that generates the codes of a level.

    Attributes:
        run_dir: The run directory.
        config: Config of the run.
        trained: Whether the run exists.
    """

    run_dir: Path
    config: ExperimentConfig
    trained: bool = True

    @property
    def level(self) -> int:
        """Level of the codes; 0 is the finest."""
        return self.config.converter.level

    @property
    def upsamples(self) -> bool:
        """Whether it is an upsampler, conditioned on the codes of the level above."""
        return self.config.converter.above_ratio > 1

    def training(self, data: list[str]) -> str:
        """Returns the command that trains the run."""
        flags = (f"--vqvae={self.config.converter.vqvae}", f"--run_dir={self.run_dir}")
        return command("train", f"--config={self.config.name}", *flags, *data)


def _with_upsamplers(run_dir: Path, config: ExperimentConfig, data: list[str]) -> list[str]:
    """Returns commands to train the missing runs of levels above this one, and to generate sound.

    The run is that of a prior or an upsampler; `data` are the flags for the folder of data sets.
    """
    runs = [CodesRun(run_dir, config), *_siblings(run_dir, config)]
    upsamplers = {run.level: run for run in reversed(runs) if run.upsamples}
    prior = next((run for run in runs if not run.upsamples), None) or _planned(run_dir, config)
    chain = [prior]
    while prior is not None and (level := prior.level - len(chain)) >= 0:
        run = upsamplers.get(level)
        if run is None and level < config.converter.level:
            break
        chain.append(run or _planned(run_dir, config, level))
    found = [run for run in chain if run is not None]
    if len(found) < len(chain):
        return ["# No configuration writes all codes above these: generate needs them, too"]
    finer = ",".join(str(run.run_dir) for run in found[1:])
    flags = [f"--upsamplers={finer}"] if finer else []
    steps = [run.training(data) for run in found if not run.trained]
    return [*steps, command("generate", f"--run_dir={found[0].run_dir}", *flags)]


def _siblings(run_dir: Path, config: ExperimentConfig) -> list[CodesRun]:
    """Returns other trained runs beside this one, for the codes of the same VQ-VAE."""
    found = []
    for path in sorted(run_dir.absolute().parent.glob("*/config.yaml")):
        if path.parent == run_dir.absolute() or not any(path.parent.glob("checkpoints/*.keras")):
            continue
        try:
            other = load_config(path)
        except UserError:  # written by another version
            continue
        if other.family == config.family and other.converter.vqvae == config.converter.vqvae:
            found.append(CodesRun(run_dir.parent / path.parent.name, other))
    return found


def _planned(
    run_dir: Path, config: ExperimentConfig, upsampled: int | None = None
) -> CodesRun | None:
    """Returns a run, not trained yet, of a configuration for another level of the same VQ-VAE.

    The new run is placed beside `run_dir`, that of an upsampler with `config`. It is the upsampler
    of the level `upsampled`, or, for None, the prior of the coarsest level.
    """
    there = presets.config_of(Path(config.converter.vqvae)).model
    level = there.levels - 1 if upsampled is None else upsampled
    for name in config_names():
        other = get_config(name)
        if other.family != config.family or other.converter.level != level:
            continue
        same = (other.model.codes, other.model.hop) == (there.codes, there.hop_lengths[level])
        if same and (other.converter.above_ratio > 1) == (upsampled is not None):
            converter = dataclasses.replace(other.converter, vqvae=config.converter.vqvae)
            other = dataclasses.replace(other, converter=converter)
            return CodesRun(run_dir.parent / name, other, trained=False)
    return None
