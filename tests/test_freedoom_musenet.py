"""Real bands, from the songs of an installed game to minutes of music for several instruments."""

import pytest
from processes import run

from magenta_lite.data import wad

pytestmark = pytest.mark.skipif(
    not any((wad.INSTALLED_FOLDER / name).is_file() for name in wad.INSTALLED),
    reason="Debian's packages freedoom and freedm are not installed",
)


def test_musenet_trained_on_real_bands_writes_four_minutes_for_those_asked_for(
    tmp_path, monkeypatch
):
    import mido

    run_dir, music = tmp_path / "run", tmp_path / "music"
    train = [
        "train",
        "--config=musenet_tiny",
        "--data=freedoom",
        f"--run_dir={run_dir}",
        f"--data_dir={tmp_path / 'data'}",
        "--set=model.layers=1",
        "--set=model.positions=256",
        "--set=converter.crop=256",
        "--set=train.precision=float32",  # no trial of both
        "--set=train.steps=12",
        "--set=train.batch_size=8",
        "--set=train.warmup_steps=4",
        "--set=train.checkpoint_every=12",
        "--set=train.validation_examples=8",
        "--set=objective.critic_every=6",
        "--set=objective.critic_pieces=4",
    ]
    generate = [
        "generate",
        f"--run_dir={run_dir}",
        f"--output_dir={music}",
        "--instruments=guitar,bass,drums",
        "--strict",
        "--minutes=4",
        "--num_outputs=1",
    ]
    for command in (train, generate):
        if command is generate:  # so much music that optimising saves time
            monkeypatch.setenv("XLA_FLAGS", "")
        code, _, error = run(f"magenta_lite.{command[0]}", *command[1:])
        assert code == 0, error
    (path,) = music.glob("*.mid")
    midi = mido.MidiFile(path)
    assert 0.9 * 240 <= midi.length <= 1.1 * 240
    programs, sounding = {}, {}
    for message in midi:
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type in ("note_on", "note_off"):
            began = message.type == "note_on" and message.velocity > 0
            key = (message.channel, message.note)
            sounding[key] = sounding.get(key, 0) + (1 if began else -1)
            assert sounding[key] in (0, 1)
    assert not any(sounding.values())  # no note hangs
    channels = {channel for channel, _ in sounding}
    assert channels - {9} and {programs[channel] for channel in channels - {9}} <= {24, 32}
    assert len(channels) >= 2
