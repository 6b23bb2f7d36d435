"""Run directories, `.keras` files and configs of an earlier version load, and give its music."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import note_seq
import numpy as np
import pytest
import soundfile

import magenta_lite.models  # noqa: F401, all that Keras needs to load a model
from magenta_lite.api import build_model
from magenta_lite.config import get_config, load_config
from magenta_lite.errors import UserError
from magenta_lite.training.run import load_run

HERE = Path(__file__).parent / "previous_version"
TONE = HERE / "music" / "tone.wav"
# The options that the music was made with, beside the seed 1.
NOTES = {
    "melody": {},
    "humanize": {},
    "attention_rnn": {"primer_melody": "[60, -2, 64, -2]", "num_steps": 64},
    "transformer": {"num_tokens": 100},
    "accompaniment": {
        "mode": "accompany",
        "primer_melody": "60 -2 67 -1",
        "num_tokens": 100,
    },
    "musenet": {"num_tokens": 120, "style": "jazz", "instruments": ("piano", "bass")},
}
SOUND = {
    "vqvae": {"mode": "reconstruct", "input": TONE},
    "rvqvae": {"mode": "reconstruct", "input": TONE},
    "prior": {"total_seconds": 1.1, "genre": "chorale", "upsamplers": ("RUNS/upsampler",)},
    "delay": {"total_seconds": 0.8},
}
OTHERS = ("upsampler",)
MIDI_TICK = 3e-3  # seconds
QUIET = 2e-3  # full scale is 1; samples are written in 16 bits


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A copy of the runs, in whose configs `RUNS` is replaced by its path."""
    folder = tmp_path_factory.mktemp("previous") / "runs"
    shutil.copytree(HERE / "trained", folder)
    for path in folder.glob("*/config.yaml"):
        path.write_text(path.read_text().replace("RUNS", str(folder)))
    return folder


def written(name: str) -> list[Path]:
    return sorted((HERE / "music").glob(f"{name}-*"))


def notes_of(sequence) -> tuple[list[tuple], list[float]]:
    """Returns which notes there are, and when they begin."""
    notes = sorted((n.is_drum, n.program, n.pitch, n.start_time) for n in sequence.notes)
    return [note[:3] for note in notes], [note[3] for note in notes]


@pytest.mark.parametrize("name", NOTES)
def test_the_same_seed_gives_the_same_notes(runs, name):
    pieces = load_run(runs / name).generate(num_outputs=2, seed=1, **NOTES[name])
    for piece, path in zip(pieces, written(name), strict=True):
        notes, starts = notes_of(piece)
        expected, at = notes_of(note_seq.midi_file_to_note_sequence(str(path)))
        assert notes == expected
        np.testing.assert_allclose(starts, at, atol=MIDI_TICK)


@pytest.mark.parametrize("name", SOUND)
def test_the_same_seed_gives_the_same_sound(runs, name):
    options = dict(SOUND[name])
    if "upsamplers" in options:
        options["upsamplers"] = tuple(p.replace("RUNS", str(runs)) for p in options["upsamplers"])
    sounds = load_run(runs / name).generate(num_outputs=2, seed=1, **options)
    for sound, path in zip(sounds, written(name), strict=True):
        expected, rate = soundfile.read(path, always_2d=True)
        assert sound.sample_rate == rate
        np.testing.assert_allclose(np.clip(sound.samples, -1, 1), expected, atol=QUIET)


@pytest.mark.parametrize("name", [*NOTES, *SOUND, *OTHERS])
def test_keras_loads_a_checkpoint(name):
    (path,) = (HERE / "trained" / name / "checkpoints").glob("*.keras")
    model = keras.saving.load_model(path)
    assert int(model.optimizer.iterations) == 3


def test_the_section_encoder_is_the_converter():
    config = load_config(HERE / "trained" / "melody" / "config.yaml")
    assert config.converter == get_config("cat-mel_2bar_tiny").converter
    changed = get_config("cat-mel_2bar_tiny", ["encoder.bars=4", "converter.gap_bars=2"])
    assert (changed.converter.bars, changed.converter.gap_bars) == (4, 2)


def test_fields_of_converters_that_belong_to_other_sections_are_read_there():
    groove, melody, musenet = (
        load_config(HERE / "trained" / name / "config.yaml")
        for name in ("humanize", "attention_rnn", "musenet")
    )
    assert groove.model.humanize and groove.generate.inference_pitch_map == "reduced"
    assert (melody.model.encoding, melody.model.lookback_distances) == ("key", (16, 32))
    assert (musenet.generate.max_note, musenet.generate.max_silence) == (10.0, 4.0)


@pytest.mark.parametrize(
    ("name", "text", "section", "value"),
    [
        ("groovae_4bar", "converter.tapify=true", "model", True),
        ("groovae_4bar", "encoder.added_classes=[2,3]", "model", (2, 3)),
        ("groovae_4bar", "converter.max_note_dropout=0.5", "model", 0.5),
        ("groovae_4bar", "converter.inference_pitch_map=roland", "generate", "roland"),
        ("attention_rnn", "converter.lookback_distances=[8]", "model", (8,)),
        ("music_transformer", "converter.max_silence=2", "generate", 2.0),
        ("music_transformer_melody", "converter.max_hung_note=1", "generate", 1.0),
        ("musenet_small", "encoder.max_note=5", "generate", 5.0),
    ],
)
def test_set_takes_these_fields_at_both_places(name, text, section, value):
    field, given = text.partition(".")[2].split("=")
    for override in (text, f"{section}.{field}={given}"):
        config = get_config(name, [override])
        assert getattr(getattr(config, section), field) == value
        assert config.converter == get_config(name).converter


def test_fields_of_another_converter_are_unknown():
    with pytest.raises(UserError, match=r"converter\.tapify"):
        get_config("cat-mel_2bar", ["converter.tapify=true"])
    with pytest.raises(UserError, match="are for converter"):
        build_model(get_config("cat-mel_2bar_tiny", ["model.tapify=true"]))
    with pytest.raises(UserError, match="is for melodies"):
        build_model(get_config("drum_kit_rnn_tiny", ["model.encoding=key"]))
