"""Writes the dummy data of the builder test: tones with noise, and unusable files.

python -m tfds_datasets.audio_dir.make_dummy_data
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "dummy_data"
# Name, sample rate in Hz, seconds, frequency of the tone on each channel in Hz.
SOUNDS = (
    ("a.wav", 8000, 0.6, (440,)),
    ("b.flac", 22_050, 0.8, (330, 550)),
    ("long.flac", 16_000, 1.7, (261,)),
    ("sub/c.ogg", 16_000, 1.2, (392,)),
    ("sub/d.mp3", 16_000, 1.0, (523,)),
    ("short.wav", 8000, 0.1, (440,)),
)
LABELS = """file,artist,genre,lyrics_file
a.wav,A Tone Generator,tone,
b.flac,"Two Tones, Together",tone,words/b.txt
missing.wav,Nobody,nothing,
"""


def tone(sample_rate: int, seconds: float, pitches: tuple[float, ...]) -> np.ndarray:
    """Returns tones with some noise, float32 (T, channels)."""
    time = np.arange(round(seconds * sample_rate))[:, None] / sample_rate
    noise = np.random.default_rng(round(sum(pitches))).uniform(-0.01, 0.01, time.shape)
    return np.float32(0.4 * np.sin(2 * np.pi * time * np.array(pitches)) + noise)


def main() -> None:
    """Rewrites the folder."""
    import soundfile

    for name, rate, seconds, pitches in SOUNDS:
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(rate, seconds, pitches), rate)
    shutil.copy(FOLDER / "a.wav", FOLDER / "same_as_a.wav")
    soundfile.write(FOLDER / "silent.flac", np.zeros(16_000), 16_000)
    (FOLDER / "truncated.wav").write_bytes((FOLDER / "a.wav").read_bytes()[:3000])
    (FOLDER / "empty.wav").write_bytes(b"")
    (FOLDER / "text.wav").write_text("This is no sound.\n", encoding="utf-8")
    (FOLDER / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (FOLDER / "notes.txt").write_text("This is no sound.\n", encoding="utf-8")
    (FOLDER / "labels.csv").write_text(LABELS, encoding="utf-8")
    (FOLDER / "words").mkdir(exist_ok=True)
    (FOLDER / "words" / "b.txt").write_text("Hum, hum,\nhum again.\n", encoding="utf-8")
    sidecar = {"artist": "Another", "genre": "tone", "lyrics": "La la", "year": 1999}
    (FOLDER / "sub" / "c.json").write_text(json.dumps(sidecar), encoding="utf-8")


if __name__ == "__main__":
    main()
