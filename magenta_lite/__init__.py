"""Music models of Magenta and OpenAI for Keras 3 and TensorFlow.

    import magenta_lite as ml

    run = ml.load("runs/cat-mel_2bar")
    pieces = run.generate(num_outputs=4, temperature=0.5)
    ml.write(pieces[0], "tune.mid")

Importing this package imports no TensorFlow: reading a configuration or asking for help stays
fast. The functions are those of `magenta_lite.api`; the models are Keras classes in
`magenta_lite.models`; the command line is in `magenta_lite.train`, `generate`, `evaluate`,
`export`, `inspect_data`, `latents`, `data`, `presets` and `import_checkpoint`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magenta_lite.api import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    api = importlib.import_module("magenta_lite.api")
    if name not in api.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(api, name)


def __dir__() -> list[str]:
    api = importlib.import_module("magenta_lite.api")
    return sorted([*api.__all__, "__version__"])
