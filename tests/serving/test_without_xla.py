"""SavedModels of every family where XLA is switched off, as TensorFlow Serving has it."""

from pathlib import Path

import numpy as np
import pytest
from processes import run

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model
from magenta_lite.serving.saved_model import export_saved_model
from magenta_lite.training.run import Run

CALLER = Path(__file__).with_name("call_without_xla.py")
# Each with what a signature of its family takes, and another kind of decoder.
NAMES = (
    "cat-mel_2bar_tiny",
    "cat-mel_2bar_med_chords_tiny",
    "nade-drums_2bar_reduced_tiny",
    "groovae_2bar_hits_control_tiny",
    "hier-multiperf_vel_1bar_med_tiny",
    "attention_rnn_tiny",
    "basic_improv_tiny",
    "performance_tiny",
    "music_transformer_tiny",
    "music_transformer_melody_tiny",
    "musenet_nano",
    "vqvae_tiny",
    "rvqvae_tiny",
    "jukebox_prior_tiny",
    "jukebox_upsampler_tiny",
    "jukebox_delay_tiny",
)
# Their layers are alike: more would only take longer.
TRANSFORMERS = ("music_transformer_tiny", "music_transformer_melody_tiny", "musenet_nano")
ONE_LAYER = ("model.layers=1",)


def exported(name: str, root: Path, xla: bool = False) -> Path:
    """Writes the SavedModel of a model that was not trained."""
    config = get_config(name, ONE_LAYER if name in TRANSFORMERS else ())
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    folder = root / (f"{name}-xla" if xla else name)
    export_saved_model(Run(config, converter, model), folder, xla=xla)
    np.savez(folder.with_suffix(".npz"), **model.signature_arguments(2, 1.0, 0))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    return {name: exported(name, root) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_no_function_asks_for_xla(folders, name):
    assert b"_XlaMustCompile" not in (folders[name] / "1/saved_model.pb").read_bytes()


def test_every_signature_runs(folders):
    code, out, error = run(CALLER, *folders.values())
    assert code == 0, error
    lines = out.splitlines()
    assert [line for line in lines if "failed" in line] == []
    assert {line.split()[0] for line in lines} == set(NAMES)


def test_a_compiled_export_asks_for_xla_even_after_one_without(folders, tmp_path):
    """And it is refused there: so the tests above see what they are to see."""
    folder = exported("attention_rnn_tiny", tmp_path, xla=True)
    assert b"_XlaMustCompile" in (folder / "1/saved_model.pb").read_bytes()
    code, out, error = run(CALLER, folder)
    assert code == 0, error
    assert "XLA compilation disabled" in out
