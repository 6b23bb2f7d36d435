"""Imports TensorFlow without its start-up messages."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from absl import flags, logging

from magenta_lite.compilation_cache import use_compilation_cache

FLAGS = flags.FLAGS

# What Keras imports for wrappers and plots that no command uses: a quarter of TensorFlow's time.
_OPTIONAL = ("sklearn", "matplotlib.pyplot")

# Messages of TensorFlow's C++ code about its build, and about missing GPUs.
_START_UP_NOTE = re.compile(
    r"[IW]\d{4} |WARNING: All log messages before|To enable the following instructions|.*cuInit"
)


def load_tensorflow() -> None:
    """Imports TensorFlow without the start-up messages that none of its settings suppresses.

    Afterwards TensorFlow and TensorFlow Datasets log only errors, unless --debug is given.
    """
    use_compilation_cache()
    with tempfile.TemporaryFile() as notes:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            with _without(*_OPTIONAL):
                import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            notes.seek(0)
            for line in notes.read().decode(errors="replace").splitlines():
                if not _START_UP_NOTE.match(line):
                    print(line, file=sys.stderr)
    debug = FLAGS.is_parsed() and "debug" in FLAGS and FLAGS.debug  # a notebook has no such flag
    if not debug:
        tf.get_logger().setLevel("ERROR")
        logging.set_verbosity(logging.ERROR)


@contextlib.contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Context manager in which modules that were not imported yet seem not to be installed."""
    hidden = {name: None for name in modules if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None is documented
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
