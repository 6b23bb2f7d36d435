"""Real bands, from the songs of an installed game to MIDI of three tracks."""

import pytest
from processes import run

from magenta_lite.data import wad

pytestmark = pytest.mark.skipif(
    not any((wad.INSTALLED_FOLDER / name).is_file() for name in wad.INSTALLED),
    reason="Debian's packages freedoom and freedm are not installed",
)


def test_trio_model_trained_on_real_bands_writes_three_tracks_with_drums_on_channel_10(tmp_path):
    import mido

    run_dir, music = tmp_path / "run", tmp_path / "music"
    train = [
        "train",
        "--config=hierdec-trio_16bar_tiny",
        "--set=converter.bars=4",
        "--set=model.segments=4",
        "--data=freedoom",
        f"--run_dir={run_dir}",
        f"--data_dir={tmp_path / 'data'}",
        "--set=train.precision=float32",  # no trial of both
        "--set=train.steps=4",
        "--set=train.batch_size=16",
        "--set=train.checkpoint_every=4",
        "--set=train.validation_examples=16",
    ]
    # Little training: a high temperature makes every part play.
    place = (f"--run_dir={run_dir}", f"--output_dir={music}")
    generate = ["generate", *place, "--temperature=1", "--seed=0"]
    for command in (train, generate):
        code, _, error = run(f"magenta_lite.{command[0]}", *command[1:])
        assert code == 0, error
    for path in sorted(music.glob("*.mid")):
        notes = [m for track in mido.MidiFile(path).tracks for m in track if m.type == "note_on"]
        channels = {message.channel for message in notes}
        assert 9 in channels and len(channels) == 3
    assert len(list(music.glob("*.mid"))) == 4
