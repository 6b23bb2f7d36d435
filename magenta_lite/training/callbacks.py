"""What happens beside the steps: watching the loss, checkpoints, metrics, pictures, signals."""

from __future__ import annotations

import collections
import importlib
import json
import math
import os
import signal
import time

import keras
import tensorflow as tf

from magenta_lite.config import ExperimentConfig
from magenta_lite.training.checkpoints import checkpoint_files, save_checkpoint, steps_done
from magenta_lite.training.progress import Progress
from magenta_lite.training.run_directory import RunDirectory

LOSSES_IN_FLIGHT = 4  # steps before a loss is looked at: the device need not be waited for
SAMPLES = 4  # drawn below one another after each validation


class DivergedError(RuntimeError):
    """The loss is not finite. The message is one line."""


class Stopped(Exception):
    """A signal asked to stop; the state is saved.

    Attributes:
        signum: The signal.
        step: Steps that are done.
    """

    def __init__(self, signum: int, step: int):
        super().__init__(f"Stopped by {signal.Signals(signum).name} at step {step:,}")
        self.signum = signum
        self.step = step


class StepCallbacks(keras.callbacks.CallbackList):
    """Calls back after each step at once and with logs that were not fetched from the device.

    Keras either fetches all logs after every step, which makes the device wait, or calls back
    from another thread, too late to stop at a step.
    """

    def on_train_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Prepare(keras.callbacks.Callback):
    """Lets the model do what it needs between steps and before a checkpoint.

    Comes first: what it does is saved, too.

    Args:
        start: Step that the run starts from.
        examples: The training split.
        seed: Of the run.
    """

    def __init__(self, start: int, examples, seed: int):
        super().__init__()
        self._step = start
        self._examples = examples
        self._seed = seed

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        self.model.prepare(self._step, self._examples, self._seed)

    def on_epoch_end(self, epoch, logs=None):
        self.model.before_checkpoint(self._examples)


class WatchSteps(keras.callbacks.Callback):
    """Tells the progress, stops when the loss is not finite and when a signal asks for it.

    Args:
        directory: Where checkpoints go.
        start: Step that the run starts from.
        progress: Told of every step.
        signals: What arrived meanwhile.
        keep: Checkpoints that stay.
        examples: The training split.
    """

    def __init__(
        self,
        directory: RunDirectory,
        start: int,
        progress: Progress,
        signals: Signals,
        keep: int,
        examples,
    ):
        super().__init__()
        self._directory = directory
        self._step = start
        self._progress = progress
        self._signals = signals
        self._keep = keep
        self._examples = examples
        self._losses = collections.deque()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        self._progress.step(self._step, logs)
        self._losses.append((self._step, logs["loss"]))
        if len(self._losses) > LOSSES_IN_FLIGHT:
            self._look_at_oldest()
        if self._signals.received:
            self._look_at_all()
            self._progress.doing("saving a checkpoint")
            self.model.before_checkpoint(self._examples)
            save_checkpoint(self.model, self._directory.checkpoints, self._keep)
            raise Stopped(self._signals.received, self._step)

    def on_test_begin(self, logs=None):
        self._look_at_all()
        self._progress.doing("validation")

    def on_epoch_end(self, epoch, logs=None):
        self._look_at_all()

    def _look_at_all(self) -> None:
        while self._losses:
            self._look_at_oldest()

    def _look_at_oldest(self) -> None:
        step, loss = self._losses.popleft()
        if math.isfinite(float(loss)):
            return
        newest = next((path for _, path in checkpoint_files(self._directory.checkpoints)), None)
        left = f"the newest good checkpoint is {newest}" if newest else "there is no checkpoint yet"
        raise DivergedError(
            f"The loss is {float(loss)} at step {step:,}; {left}. "
            "Try a lower train.learning_rate or train.precision=float32 in a new --run_dir"
        )


class Record(keras.callbacks.Callback):
    """Writes metrics and TensorBoard scalars and pictures when a checkpoint is due.

    Args:
        directory: The run directory.
        config: Of the run.
        encoder: Decodes the samples that are drawn as piano rolls.
        progress: Gets a line that stays.
        held_out: The validation split, which models of sound are shown with.
    """

    def __init__(
        self, directory: RunDirectory, config: ExperimentConfig, encoder, progress, held_out
    ):
        super().__init__()
        self._directory = directory
        self._config = config
        self._encoder = encoder
        self._progress = progress
        self._held_out = held_out
        self._writer = tf.summary.create_file_writer(str(directory.events))
        self._sample = None

    def on_epoch_end(self, epoch, logs):
        step = steps_done(self.model)
        values = {
            name: float(value)
            for name, value in logs.items()
            if not name.startswith("free_running")  # only validation decodes freely: val_free_…
        }
        values["learning_rate"] = float(self.model.optimizer.learning_rate)
        if speed := self._progress.examples_per_second:
            values["examples_per_second"] = speed
        line = {"step": step, "time": round(time.time(), 3)} | values
        with self._directory.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        shown = [name for name in values if name == "loss" or name.startswith("val_")]
        self._progress.say(
            f"step {step:,}: " + "  ".join(f"{name} {values[name]:.4g}" for name in shown)
        )
        self._progress.doing("drawing samples")
        with self._writer.as_default(step=step):
            for name, value in values.items():
                held_out = name.startswith("val_")
                folder = "validation" if held_out else "train"
                tf.summary.scalar(f"{folder}/{name.removeprefix('val_')}", value)
            for i, picture in enumerate(self._pictures(step)):
                tf.summary.image(f"samples/{i}", picture[None])
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.flush()

    def _pictures(self, step: int):
        """Yields pictures, uint8 (H, W, 4), of what the model does, if it is validated."""
        from magenta_lite.plots import png_bytes

        if not self._config.train.validation_examples:
            return
        family = importlib.import_module(f"magenta_lite.models.{self._config.family}.inference")
        if hasattr(family, "pictures"):
            seed = self._config.train.seed
            figures = family.pictures(self.model, self._encoder, self._held_out, seed)
        else:
            figures = self._piano_rolls(family, step)
        for figure in figures:
            yield tf.image.decode_png(png_bytes(figure), channels=4)

    def _piano_rolls(self, family, step: int):
        from magenta_lite.plots import piano_rolls

        if self._sample is None:
            self._sample = family.inference_functions(self.model)["sample"]
        temperature, seed = self._config.generate.temperature, self._config.train.seed
        drawn = self._sample(**family.sampling_arguments(self.model, SAMPLES, temperature, seed))
        sequences = [self._encoder.decode(events) for events in drawn["events"].numpy()]
        return [piano_rolls(sequences, [f"step {step:,}, sample {i}" for i in range(SAMPLES)])]


class Checkpoints(keras.callbacks.Callback):
    """Writes a checkpoint at the end of each interval. Comes after those that may object.

    Args:
        directory: Where to.
        keep: Checkpoints that stay.
        chief: Whether this worker writes.
        progress: Told that it is going on.
    """

    def __init__(self, directory: RunDirectory, keep: int, chief: bool, progress: Progress):
        super().__init__()
        self._directory = directory
        self._keep = keep
        self._chief = chief
        self._progress = progress

    def on_epoch_end(self, epoch, logs=None):
        self._progress.doing("saving a checkpoint")
        save_checkpoint(self.model, self._directory.checkpoints, self._keep, self._chief)


class Signals:
    """While active, Ctrl-C and SIGTERM are noted; a second one interrupts at once.

    Attributes:
        received: The signal's number, 0 for none.
    """

    def __init__(self):
        self.received = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number
