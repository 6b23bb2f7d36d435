"""Packaging of magenta_lite; tool settings live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = "0.1.0"

# The `tfds` command imports both at its start.
BEAM = ["apache-beam>=2.77", "mlcroissant>=1.0.9"]

# Of the command `serve`.
SERVE = [
    "fastapi>=0.115",
    "prometheus-client>=0.20",
    "psutil>=5.9",
    "python-json-logger>=3.1",
    "python-multipart>=0.0.18",
    "sse-starlette>=2.1",
    "uvicorn>=0.32",
    'uvloop>=0.21; sys_platform != "win32"',  # gives the memory of closed connections back
    "werkzeug>=3.0",  # reads `Accept`
]

# Of `export --format=litert` and `--format=onnx`; the runtimes of what they write.
LITERT = ["ai-edge-litert>=2.1"]
ONNX = ["onnx>=1.19", "onnxruntime>=1.23"]

setup(
    name="magenta_lite",
    version=VERSION,
    description="Music models of Magenta and OpenAI for Keras 3: train, generate, serve",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    # The wheel carries configs/ as magenta_lite.configs; a checkout finds the folder beside the
    # package (an editable install cannot map a nested package), see magenta_lite.config.
    packages=[*find_packages(include=["magenta_lite*", "tfds_datasets*"]), "magenta_lite.configs"],
    package_dir={"magenta_lite.configs": "configs"},
    entry_points={"console_scripts": ["magenta-lite = magenta_lite.__main__:main"]},
    package_data={
        "magenta_lite": ["py.typed", "**/*.html", "**/*.txt", "presets/*/*", "serving/samplers/*"],
        "tfds_datasets": ["**/*.md", "**/*.bib", "**/*.tsv", "**/*.txt", "**/dummy_data/**/*"],
    },
    install_requires=[
        "absl-py>=2.1",
        "array-record>=0.7",
        # note-seq imports pydub, which needs a module that Python 3.13 no longer has.
        "audioop-lts>=0.2; python_version >= '3.13'",
        "google-crc32c>=1.5",  # checksums of TFRecord files
        "keras>=3.12",
        "matplotlib>=3.8",
        "midirenderer>=0.1.3",  # plays soundfonts
        "mido>=1.3",
        "music21>=10.5",
        "note-seq>=0.0.5",
        "numpy>=2.0",
        "omegaconf>=2.3",
        "pyloudnorm>=0.1.1",  # loudness of ITU-R BS.1770
        "pyyaml>=6.0",
        "pretty_midi>=0.2.10",  # names of instruments, and a soundfont
        "safetensors>=0.5",  # weights of presets
        "scipy>=1.11",
        "soundfile>=0.12",
        "soxr>=0.5",
        "tensorboard>=2.20",
        "tensorflow>=2.20",
        "tensorflow-datasets>=4.9.10",
        "tensorflow-probability[tf]>=0.25",
    ],
    extras_require={
        "beam": BEAM,
        "fuzz": ["atheris>=3.0"],  # of scripts/fuzz_binary_readers.py
        "litert": LITERT,
        "onnx": ONNX,
        "serve": SERVE,
        "test": [
            *BEAM,
            *LITERT,
            *ONNX,
            *SERVE,
            "dill>=0.3.8",  # tensorflow_datasets.testing imports it
            "httpx>=0.27",  # a client of the server
            "hypothesis>=6.100",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "import-linter>=2.17",
            "pyright[nodejs]>=1.1.400",
            "ruff>=0.17,<0.18",
            "symusic>=0.6",  # a second reader of MIDI, also of `scripts`
        ],
    },
)
