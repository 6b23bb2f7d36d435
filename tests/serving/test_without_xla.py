"""SavedModels of every family where XLA is switched off, as TensorFlow Serving has it."""

from pathlib import Path

import numpy as np
import pytest
from processes import run

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model
from magenta_lite.serving.notes import note_reader
from magenta_lite.serving.saved_model import default_arguments, export_saved_model
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
ROWS = 8
PRIMERS = {"musenet_nano": 200}  # the lowest id; others are small numbers


def exported(name: str, root: Path, xla: bool = False) -> Path:
    """Writes the SavedModel of a model that was not trained."""
    config = get_config(name, ONE_LAYER if name in TRANSFORMERS else ())
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    folder = root / (f"{name}-xla" if xla else name)
    export_saved_model(Run(config, converter, model), folder, xla=xla)
    np.savez(
        folder.with_suffix(".npz"),
        **varied(name, default_arguments(model, converter, ROWS, 1.0, 5)),
    )
    return folder


def varied(name: str, arguments: dict) -> dict[str, np.ndarray]:
    """Returns arguments whose rows differ in all that a row may have of its own."""
    rows, rng = np.arange(ROWS), np.random.default_rng(0)
    varied = {key: np.array(value) for key, value in arguments.items()}
    if "seed" not in varied:
        return varied
    varied["temperature"] = np.linspace(0.7, 1.2, ROWS).astype(np.float32)
    varied["top_p"][rows % 3 == 1] = 0.9
    if "qpm" in varied:
        varied["qpm"] = (90 + 10 * rows).astype(np.float32)
    for key in {"num_tokens", "num_steps", "num_codes"} & set(varied):
        varied[key] = (20 + rows).astype(np.int32)
    for key in {"primer", "given"} & set(varied):
        shape = (ROWS, 3, *varied[key].shape[2:])
        varied[key] = (PRIMERS.get(name, 3) + rng.integers(0, 9, shape)).astype(np.int32)
        varied[f"{key}_length"] = (rows % 4).astype(np.int32)
        varied[f"{key}_length"][3] = 5  # of three: all of them
    return varied


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    return {name: exported(name, root) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_no_function_asks_for_xla_or_python(folders, name):
    graph = (folders[name] / "1/saved_model.pb").read_bytes()
    assert b"_XlaMustCompile" not in graph and b"PyFunc" not in graph


@pytest.fixture(scope="module")
def called(folders):
    code, out, error = run(CALLER, *folders.values())
    assert code == 0, error
    return out.splitlines()


def test_every_signature_runs_and_rows_depend_on_nothing_but_themselves(called):
    assert [line for line in called if "failed" in line] == []
    assert {line.split()[0] for line in called} == set(NAMES)


def test_notes_of_rows_are_those_of_their_events(folders, called):
    del called
    compared = 0
    for name, folder in folders.items():
        config = get_config(name)
        converter = build_converter(config.converter)
        if note_reader(converter) is None:
            continue
        rows, found = np.load(folder.with_suffix(".npz")), np.load(folder.with_suffix(".rows.npz"))
        for row in range(ROWS):
            events = found["events"][row]
            if "num_events" in found:
                events = events[: found["num_events"][row]]
            elif events.ndim == 1:
                events = events[events >= 0]
            qpm = {"qpm": float(rows["qpm"][row])} if "qpm" in rows else {}
            notes = converter.decode(events, **qpm).notes
            wanted = sorted((note.start_time, note.pitch, note.end_time) for note in notes)
            count = found["num_notes"][row]
            columns = (found[key][row, :count] for key in ("start", "pitch", "end"))
            got = sorted(zip(*columns, strict=True))
            assert len(got) == len(wanted), name
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
            compared += count
    assert compared > 100


def test_a_compiled_export_asks_for_xla_even_after_one_without(folders, tmp_path):
    """And it is refused there: so the tests above see what they are to see."""
    folder = exported("attention_rnn_tiny", tmp_path, xla=True)
    assert b"_XlaMustCompile" in (folder / "1/saved_model.pb").read_bytes()
    code, out, error = run(CALLER, folder)
    assert code == 0, error
    assert "XLA compilation disabled" in out
