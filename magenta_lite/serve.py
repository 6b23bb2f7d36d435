"""Serve trained models over HTTP.

python -m magenta_lite.serve --run_dir=runs/cat-mel_2bar --run_dir=runs/attention_rnn --port=8000

curl -d '{"temperature": 0.8, "seed": 1}' http://127.0.0.1:8000/models/cat-mel_2bar/generate > a.mid
curl -F 'options={"mode": "continue"}' -F input=@tune.mid -H 'Accept: audio/wav' \\
    http://127.0.0.1:8000/models/attention_rnn/generate > b.wav

The server listens on this machine only, unless --host says otherwise. http://127.0.0.1:8000/docs
describes all paths, and has a form to try them. A model is loaded by the first request to it.
"""

from __future__ import annotations

import logging.config
from pathlib import Path

from absl import flags

from magenta_lite import cli, presets
from magenta_lite.errors import UserError

FLAGS = flags.FLAGS

cli.define_paths("run_dir", "The run directory of a model. Repeatable.")
flags.DEFINE_multi_string("preset", [], "A trained model that comes with the package. Repeatable.")
cli.define_checkpoint_flag()
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all networks.")
flags.DEFINE_integer("port", 8000, "Port to listen on.", lower_bound=0, upper_bound=65535)
flags.DEFINE_integer("queue", 128, "Requests to a model that may wait.", lower_bound=1)
flags.DEFINE_integer("batch", 32, "Requests to a model that are answered together.", lower_bound=1)
flags.DEFINE_float("seconds", 300.0, "Time limit of a request.", lower_bound=0.1)
flags.DEFINE_float("memory", 8.0, "Limit of all loaded models together in GB.", lower_bound=0.1)
flags.DEFINE_integer("megabytes", 16, "Largest body of a request in MB.", lower_bound=1)


def main() -> None:
    folders = [Path(path) for path in FLAGS.run_dir] + [*map(presets.folder_of, FLAGS.preset)]
    if not folders:
        raise UserError("--run_dir or --preset is missing, see --help")
    try:
        import uvicorn

        from magenta_lite.server.app import create_app
        from magenta_lite.server.http_limits import SILENT_SECONDS, LimitedProtocol
        from magenta_lite.server.jobs import Limits
        from magenta_lite.server.logs import LOGGING
        from magenta_lite.server.requests import served_models
    except ImportError as error:
        raise UserError(
            f"{error.name} is missing; install the server with: pip install 'magenta_lite[serve]'"
        ) from error

    served = served_models(folders)
    limits = Limits(FLAGS.queue, FLAGS.batch, FLAGS.seconds, int(FLAGS.memory * 1e9))
    app = create_app(served, FLAGS.checkpoint, limits, FLAGS.megabytes * 1_000_000)
    logging.config.dictConfig(LOGGING)
    uvicorn.run(
        app,
        host=FLAGS.host,
        port=FLAGS.port,
        http=LimitedProtocol,
        timeout_keep_alive=int(SILENT_SECONDS),
        log_config=None,
    )


if __name__ == "__main__":
    cli.run(main)
