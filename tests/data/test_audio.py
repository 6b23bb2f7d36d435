"""Reading and writing sound files."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from magenta_lite.converters.audio import Audio, AudioConverterConfig
from magenta_lite.data import audio
from magenta_lite.data.audio import list_sounds, read_audio, write_audio
from magenta_lite.errors import UserError

CONFIG = AudioConverterConfig()


def _sine(rate: int, seconds: float = 1.0, pitch: float = 1000.0, level: float = 0.5):
    return np.float32(level * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate))


def _peak(samples: np.ndarray, rate: int) -> tuple[float, float]:
    """Returns frequency and amplitude of the strongest partial."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) / window.sum() * 2
    best = int(spectrum.argmax())
    return best * rate / len(samples), float(spectrum[best])


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_a_tone_keeps_pitch_level_and_length_at_another_rate(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", _sine(rate), rate)
    sound = read_audio(tmp_path / "a.wav", 16_000)
    assert sound.samples.dtype == np.float32
    assert sound.samples.shape == (16_000, 1)
    pitch, level = _peak(sound.samples[1000:-1000, 0], 16_000)
    assert abs(pitch - 1000) < 2
    assert abs(level - 0.5) < 0.01


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_every_format_is_read(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", _sine(16_000), 16_000)
    sound = read_audio(tmp_path / f"a.{suffix}", 16_000)
    pitch, level = _peak(sound.samples[2000:14_000, 0], 16_000)
    assert abs(pitch - 1000) < 2
    assert abs(level - 0.5) < 0.02


def test_opus_is_read(tmp_path):
    soundfile.write(tmp_path / "a.opus", _sine(48_000), 48_000, format="OGG", subtype="OPUS")
    pitch, _ = _peak(read_audio(tmp_path / "a.opus", 16_000).samples[2000:14_000, 0], 16_000)
    assert abs(pitch - 1000) < 2


def test_channels_are_mixed_by_their_mean_or_doubled(tmp_path):
    left, right = _sine(16_000), _sine(16_000, pitch=500.0, level=0.3)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "one.wav", left, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "three.wav", np.stack([left] * 3, 1), 16_000)
    mono = read_audio(tmp_path / "two.wav", 16_000).samples
    np.testing.assert_allclose(mono[:, 0], (left + right) / 2, atol=1e-6)
    stereo = read_audio(tmp_path / "two.wav", 16_000, channels=2).samples
    np.testing.assert_allclose(stereo, np.stack([left, right], 1), atol=1e-6)
    doubled = read_audio(tmp_path / "one.wav", 16_000, channels=2).samples
    np.testing.assert_allclose(doubled, np.stack([left, left], 1), atol=1e-6)
    with pytest.raises(UserError, match=r"three\.wav cannot be read: 3 channels"):
        read_audio(tmp_path / "three.wav", 16_000, channels=2)


def test_long_files_are_read_block_by_block_without_a_seam(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", _sine(44_100, 3.0), 44_100)
    at_once = read_audio(tmp_path / "a.flac", 16_000).samples
    monkeypatch.setattr(audio, "BLOCK", 1000)
    np.testing.assert_allclose(read_audio(tmp_path / "a.flac", 16_000).samples, at_once, atol=1e-6)


def test_files_that_promise_too_little_are_read_whole(tmp_path):
    """A WAV written into a pipe states the largest size instead of its own."""
    soundfile.write(tmp_path / "a.wav", _sine(16_000), 16_000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "a.wav", 16_000).samples) == 16_000


def _bad_files(folder):
    soundfile.write(folder / "good.wav", _sine(16_000), 16_000)
    for suffix in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(folder / f"cut.{suffix}", _sine(16_000), 16_000)
        whole = (folder / f"cut.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.flac").write_text("no sound at all")
    (folder / "text.mp3").write_text("no sound at all " * 100)
    soundfile.write(folder / "nothing.wav", np.zeros(0), 16_000)
    (folder / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (folder / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "folder.wav").mkdir()  # is searched, not read


def test_every_bad_file_is_named_with_its_reason_and_the_good_one_is_read(tmp_path):
    _bad_files(tmp_path)
    sources, report = list_sounds(tmp_path)
    read = []
    for source in sources:
        found, more = source.read_as(CONFIG)
        read += [piece.name for piece in found]
        report.merge(more)
    assert read == ["good.wav"]
    reasons = {name: reason for reason, names in report.places.items() for name in names}
    words = {
        "cut.wav": "truncated",
        "cut.flac": "cannot be decoded",
        "cut.ogg": "cannot be decoded",
        "cut.mp3": "truncated",
        "empty.wav": "the file is empty",
        "text.flac": "cannot be decoded: Format not recognised",
        "text.mp3": "cannot be decoded: no sound in it",
        "nothing.wav": "no sound in it",
        "phone.m4a": "convert it, e.g. with ffmpeg",
        "cover.jpg": "not a sound file",
    }
    assert reasons.keys() == words.keys()
    for name, word in words.items():
        assert word in reasons[name], (name, reasons[name])


def test_a_rate_at_which_a_small_file_would_be_hours_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(10_000), 1)
    with pytest.raises(UserError, match="sample rate below 1,000 Hz"):
        read_audio(tmp_path / "a.wav", 16_000)


def test_sound_of_many_channels_is_read_in_smaller_blocks(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.tile(_sine(16_000)[:, None], 1024), 16_000)
    np.testing.assert_allclose(
        read_audio(tmp_path / "a.wav").samples[:, 0], _sine(16_000), 1e-3, 1e-4
    )
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        assert max(map(len, audio._blocks(file))) == 512


def test_files_longer_than_three_hours_are_not_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", _sine(16_000), 16_000)
    monkeypatch.setattr(audio.formats, "MAX_PIECE_SECONDS", 0.9)
    with pytest.raises(UserError, match="longer than"):
        read_audio(tmp_path / "a.wav", 16_000)


@pytest.mark.parametrize("name", ["missing.wav", "phone.m4a"])
def test_files_that_a_user_names_are_refused_in_one_line(tmp_path, name):
    (tmp_path / "phone.m4a").write_bytes(b"x")
    with pytest.raises(UserError, match=name) as error:
        read_audio(tmp_path / name, 16_000)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_written_sound_is_read_back_to_the_bit(tmp_path, suffix):
    samples = np.random.default_rng(0).integers(-32768, 32768, (5000, 2)) / 32768
    sound = Audio(np.float32(samples), 22_050)
    path = write_audio(tmp_path / "new" / f"a.{suffix}", sound)
    np.testing.assert_array_equal(read_audio(path, 22_050, 2).samples, sound.samples)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_written_sound_is_limited_and_vorbis_is_written(tmp_path):
    loud = Audio(_sine(16_000, level=3.0)[:, None], 16_000)
    back = read_audio(write_audio(tmp_path / "a.wav", loud), 16_000).samples
    assert (back.min(), back.max()) == (-1.0, np.float32(32767 / 32768))
    soft = Audio(_sine(16_000)[:, None], 16_000)
    back = read_audio(write_audio(tmp_path / "a.ogg", soft), 16_000).samples
    assert abs(_peak(back[2000:14_000, 0], 16_000)[0] - 1000) < 2


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    sound = Audio(_sine(16_000)[:, None], 16_000)
    with pytest.raises(UserError, match=r"a\.mp3 cannot be written; its suffix must be \.wav"):
        write_audio(tmp_path / "a.mp3", sound)
    path = write_audio(tmp_path / "a.wav", sound)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"a\.wav cannot be written"):
        write_audio(path, Audio(sound.samples, -1))  # no such sample rate
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.wav"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        write_audio(tmp_path / "file" / "a.wav", sound)
