"""TensorFlow, imported without the messages of its start."""

from __future__ import annotations

import os
import re
import sys
import tempfile

from absl import flags, logging

FLAGS = flags.FLAGS

# TensorFlow's C++ remarks about its build, and that it finds no GPU.
_START_UP_NOTE = re.compile(
    r"[IW]\d{4} |WARNING: All log messages before|To enable the following instructions|.*cuInit"
)


def load_tensorflow() -> None:
    """Imports TensorFlow without the notes on its start-up that no setting of its own stops.

    Afterwards it and TensorFlow Datasets speak of errors only, unless --debug wants to hear more.
    """
    with tempfile.TemporaryFile() as notes:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
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
