"""A trained model with its config and converter, loaded from and saved to a run directory."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from magenta_lite import presets
from magenta_lite.config import FORMER_CONVERTER_FIELDS, ExperimentConfig, load_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.converter import Converter
from magenta_lite.data.inputs import read_inputs
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.families import FAMILIES
from magenta_lite.families.building import build_model, count_weights
from magenta_lite.layers.initial_values import replaced_at_once
from magenta_lite.locks import new_folder
from magenta_lite.modeling.music_model import MusicModel
from magenta_lite.modeling.options import (
    GenerateOptions,
    Reconstruction,
    options_of,
    random_seed,
)
from magenta_lite.presets.packing import load_weights
from magenta_lite.training.averages import begin_averages
from magenta_lite.training.checkpoints import (
    checkpoint_files,
    restore_first,
    save_checkpoint,
    steps_done,
    wanted_files,
)
from magenta_lite.training.history import History
from magenta_lite.training.optimizer import compile_model
from magenta_lite.training.run_directory import RunDirectory, differences

SMALL_MODEL = 2**28  # bytes of a model that is built whatever its checkpoints hold


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with its config and converter.

    Attributes:
        config: Config of the run.
        converter: Converts notes or sound to events and back.
        model: The Keras model; in float32 if it was loaded from a checkpoint.
        directory: The run directory; None for a model that was not loaded from one.
        step: Step of the loaded checkpoint.
        newest: Step of the newest checkpoint.
    """

    config: ExperimentConfig
    converter: Converter
    model: MusicModel
    directory: Path | None = None
    step: int = 0
    newest: int = 0

    def pieces(self, options: GenerateOptions) -> list[Any]:
        """Generates with the model, and with the other runs that the options name.

        Args:
            options: Options of the model's family.

        Returns:
            See `MusicModel.generate`.

        Raises:
            UserError: If the options do not fit the model, or another run cannot be loaded.
        """
        needed = options.needed_runs(self.converter)
        options = options.replace(runs={path: load_run(Path(path)) for path in needed})
        return self.model.generate(options, self.converter)

    def music(self, options: GenerateOptions) -> list[Any]:
        """Returns what `pieces` generates as NoteSequences, or as the `Audio` of the finest level.

        Raises:
            UserError: As of `pieces`.
        """
        return [_music(piece) for piece in self.pieces(options)]

    def generate(self, mode: str = "sample", input: Any = None, **options: Any) -> list[Any]:
        """Generates music with the model.

        Args:
            mode: E.g. `sample`, `continue` or `reconstruct`; the error for an unknown mode lists
                those of the model.
            input: A path, a NoteSequence or an `Audio`, or a list of these.
            **options: Options of the model's family, as of the command `generate`: `num_outputs`,
                `temperature`, `seed`, `qpm` and others. Without a seed, results differ between
                calls.

        Returns:
            NoteSequences; for a model of sound, an `Audio` each of the finest generated level.

        Raises:
            UserError: If an option is unknown, or does not fit the model.
        """
        options_class = type(self.model).Options
        known = ("num_outputs", "temperature", "seed", "qpm", "programs")
        for name in options:
            if name not in known and name not in options_of(options_class):
                names = (*known, *options_class.names(self.converter))
                raise unknown_name(f"option of a {options_class.family} model", name, names)
        asked = options_class.of(
            self.config.generate,
            mode=mode,
            inputs=read_inputs(input, self.converter),
            **{"seed": random_seed()} | options,
        )
        asked.check(self.converter)
        return self.music(asked)

    def save(self, path: str | os.PathLike) -> Run:
        """Writes a run directory with the current weights, and returns that run.

        Args:
            path: Must be empty or not exist.

        Raises:
            UserError: If `path` is in use or cannot be written.
        """
        optimizer = getattr(self.model, "optimizer", None)  # missing before compile()
        step = int(optimizer.iterations) if optimizer else self.step
        copy = build_model(self.config, self.converter)  # is compiled with the config's optimiser
        copy.set_weights(self.model.get_weights())
        write_imported_run(self.config, self.converter, copy, step, Path(path), "a program")
        return load_run(Path(path))


def _music(piece: Any) -> Any:
    """Returns the NoteSequence or the `Audio` in a result of `MusicModel.generate`."""
    if isinstance(piece, Reconstruction):
        return piece.output
    if isinstance(piece, dict):
        return piece[min(name for name in piece if name.startswith("level-"))]
    return piece


def load_run(path: Path, checkpoint: str = "best") -> Run:
    """Loads a checkpoint of a run directory, or a preset.

    Args:
        path: The run directory, or the name or the folder of a preset.
        checkpoint: `best`, the one with the best validation (the newest without validations),
            `newest` or a step. Broken checkpoints are skipped with a message. A preset has one.

    Raises:
        UserError: If `path` is neither, has no such checkpoint, or is a damaged preset.
        CheckpointError: If no checkpoint is intact.
    """
    if preset := presets.located(Path(path)):
        return _load_preset(preset, checkpoint)
    directory, config, files = _open_run(path, checkpoint)
    converter = build_converter(config.converter)
    _check_size(config, converter, [file for _, file in files], directory.config)
    with replaced_at_once():
        model = build_model(config, converter)
    compile_model(model, config.train)
    restore_first(model, files)
    newest, _ = checkpoint_files(directory.checkpoints)[0]
    return Run(config, converter, model, directory.path, steps_done(model), newest)


def _load_preset(folder: Path, checkpoint: str) -> Run:
    """Loads the weights of a preset."""
    preset = presets.checked(folder)
    if checkpoint not in ("best", "newest", str(preset.step)):
        raise UserError(
            f"--checkpoint={checkpoint}: preset {folder.name} has the weights of step "
            f"{preset.step} only; leave it out"
        )
    config = load_config(folder / presets.CONFIG)
    converter = build_converter(config.converter)
    _check_size(config, converter, [folder / presets.WEIGHTS], folder / presets.CONFIG)
    with replaced_at_once():
        model = build_model(config, converter)
    load_weights(model, folder)
    return Run(config, converter, model, folder, preset.step, preset.step)


def config_and_step(path: Path) -> tuple[ExperimentConfig, int]:
    """Returns the config of a run directory or a preset, and the step of its best checkpoint.

    Raises:
        UserError: As of `load_run`.
    """
    if preset := presets.located(Path(path)):
        return presets.config_of(preset), presets.read_manifest(preset).step
    _, config, files = _open_run(path, "best")
    return config, files[0][0]


def _open_run(path, checkpoint):
    """Returns the run directory, its config, and steps and paths of checkpoints, best first."""
    directory = RunDirectory(Path(path).expanduser())
    config = load_config(directory.config)
    history = History.read(config, directory.metrics)
    files = wanted_files(directory.checkpoints, checkpoint, history)
    if not files:
        raise UserError(f"{directory.path} has no checkpoint yet; let `train` run on")
    return directory, config, files


def _check_size(
    config: ExperimentConfig, converter: Converter, files: list[Path], path: Path
) -> None:
    """Raises: UserError if the model of a config is much larger than its checkpoints."""
    size, held = 4 * count_weights(config, converter), max(file.stat().st_size for file in files)
    if size > 2 * held + SMALL_MODEL:  # the weights of a preset may be in float16
        raise UserError(
            f"The model of {path} needs {size:,} bytes, and its "
            f"checkpoints have at most {held:,}: they do not belong together; copy the run again"
        )


def load_encoder(config: ExperimentConfig) -> Run | None:
    """Loads the run that encodes the data of a config, e.g. a VQ-VAE; None if the converter does.

    Raises:
        UserError: If the config names no such run.
        CheckpointError: As of `load_run`.
    """
    encoded = FAMILIES[config.family].encoded_data
    if encoded is None:
        return None
    path = encoded.run_dir(config)
    if path is None:
        raise UserError(
            f"--{encoded.run_field} is missing: the run directory of {encoded.run_about}"
        )
    return load_run(path)


def copy_weights(model: Any, config: ExperimentConfig, source: str) -> Path | None:
    """Copies the weights of another run into `model`; the optimiser and the step are kept.

    Args:
        model: The model of `config`.
        config: Its converter and model sections must be the same as in the other run.
        source: The other run directory.

    Returns:
        The other run directory.

    Raises:
        UserError: If that is not a run with weights, or its model has other sizes.
    """
    there = presets.config_of(Path(source))
    if there.family != config.family:
        raise UserError(f"--init_from={source} is a {there.family} run, not {config.family}")
    inputs = {f"model.{name}" for name in FORMER_CONVERTER_FIELDS.get(config.converter.kind, ())}
    changed = [
        f"{key} ({old} there, {new} here)"
        for key, old, new in differences(there, config)
        if key.startswith("model.") and key not in inputs
    ]
    if changed:
        raise UserError(f"--init_from={source} has other sizes: {', '.join(changed)}")
    run = load_run(Path(source))
    pairs = list(zip(model.trainable_variables, run.model.trainable_variables, strict=True))
    for mine, theirs in pairs:
        if mine.shape != theirs.shape:
            raise UserError(
                f"--init_from={source}: {theirs.path} has shape {list(theirs.shape)} there and "
                f"{list(mine.shape)} here: the converter differs"
            )
    for mine, theirs in pairs:
        mine.assign(theirs)
    return run.directory


def write_imported_run(
    config: ExperimentConfig, converter: Any, model: Any, step: int, path: Path, source: str
) -> Path:
    """Writes a run directory for a model with imported weights.

    Args:
        config: Config of the model.
        converter: Converter of the model.
        model: The model with its weights.
        step: Number of steps it was trained for, from which training continues.
        path: Must be empty or not exist.
        source: Origin of the weights, which is recorded.

    Returns:
        The checkpoint's path.

    Raises:
        UserError: If `path` is in use or cannot be written.
    """
    compile_model(model, config.train)
    model.optimizer.iterations.assign(step)
    begin_averages(model)
    path = Path(path).expanduser()
    with new_folder(path, "--run_dir") as partial:
        directory = RunDirectory(partial)
        directory.prepare(config, converter, {"name": source, "sizes": {}})
        checkpoint = save_checkpoint(model, directory.checkpoints, keep=1)
    return RunDirectory(path).checkpoints / checkpoint.name
