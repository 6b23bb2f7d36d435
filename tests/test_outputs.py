"""Written music: what its WAV files sound like, and what is beside them."""

import importlib.util
import sys
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from note_seq.protobuf import music_pb2

from magenta_lite import soundfont
from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.audio import Audio
from magenta_lite.converters.musenet.converter import to_sequence
from magenta_lite.errors import UserError
from magenta_lite.loudness import CEILING
from magenta_lite.outputs import write_sequences, write_sounds
from magenta_lite.plain_tones import PlainTones
from magenta_lite.soundfont import RenderError, SoundFont, open_soundfont
from magenta_lite.testing.events import made_up_events

VIOLIN, PIANO = 40, 0
KICK, HI_HAT = 36, 42


@pytest.fixture(scope="module", params=["soundfont", "plain tones"])
def player(request):
    """What plays notes: the soundfont, and the last resort."""
    return open_soundfont() if request.param == "soundfont" else PlainTones()


def music(*notes):
    """Returns notes (pitch, start, end, program) in seconds; drums have None for a program."""
    made = music_pb2.NoteSequence()
    made.tempos.add(qpm=120)
    for pitch, start, end, program in notes:
        made.notes.add(
            pitch=pitch,
            velocity=100,
            start_time=start,
            end_time=end,
            program=program or 0,
            instrument=9 if program is None else program,
            is_drum=program is None,
        )
    return made


def written(sequence, player, folder):
    """Writes a piece; returns its sound as one channel, after the checks that hold for all."""
    _, wav, _ = write_sequences([sequence], folder, "piece", player)
    samples, rate = soundfile.read(wav, always_2d=True)
    assert np.isfinite(samples).all()
    if sequence.notes:
        assert 0.2 < np.abs(samples).max() < CEILING + 1e-4  # neither silent nor clipped
        assert np.abs(samples.mean(axis=0)).max() < 0.05  # and no constant
    assert np.abs(samples[-20:]).max() < 0.01  # notes fade, nothing is cut off
    return samples.mean(axis=1), rate


def spectrum(samples, rate):
    """Returns frequencies and magnitudes."""
    magnitude = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.fft.rfftfreq(len(samples), 1 / rate), magnitude


def share(samples, rate, low, high):
    """Returns what part of the energy lies between two frequencies."""
    frequencies, magnitude = spectrum(samples, rate)
    inside = (frequencies >= low) & (frequencies < high)
    return np.sum(magnitude[inside] ** 2) / np.sum(magnitude**2)


@pytest.mark.parametrize("pitch", [KICK, HI_HAT])
def test_drums_alone_sound_in_the_band_of_the_drum(pitch, player, tmp_path):
    beats = music(*((pitch, t / 2, t / 2 + 0.125, None) for t in range(8)))
    samples, rate = written(beats, player, tmp_path)
    low, high = (20, 150) if pitch == KICK else (5000, rate / 2)
    assert share(samples, rate, low, high) > 0.6
    # Each stroke is louder than what is left of the one before.
    energy = [np.square(samples[int((t + dt) * rate) :][: rate // 20]).sum()
              for t in np.arange(8) / 2 for dt in (0.0, 0.4)]  # fmt: skip
    assert all(stroke > 10 * rest for stroke, rest in zip(energy[::2], energy[1::2], strict=True))


def test_a_violin_has_harmonics(player, tmp_path):
    samples, rate = written(music((69, 0, 2, VIOLIN)), player, tmp_path)
    frequencies, magnitude = spectrum(samples[rate // 2 : 2 * rate], rate)

    def level(hertz):
        return magnitude[np.abs(frequencies - hertz) < 0.03 * 440].max()

    decibels = [20 * np.log10(level(440 * number) / level(440)) for number in range(2, 7)]
    assert min(decibels) > -40
    gap = [20 * np.log10(level(440 * (n + 0.5)) / level(440 * n)) for n in range(1, 4)]
    assert max(gap) < -15  # a tone, not noise


def test_a_trio_differs_at_the_strokes_of_its_drums(player):
    tune = [(60 + i % 5, i / 2, i / 2 + 0.5, PIANO) for i in range(8)]
    tune += [(36 + i % 3, i / 2, i / 2 + 0.5, 33) for i in range(8)]
    hits = [(38, t, t + 0.125, None) for t in (1.25, 2.25, 3.25)]
    with_drums, without = player.play(music(*tune, *hits)), player.play(music(*tune))
    rate, length = with_drums.sample_rate, 4 * with_drums.sample_rate
    drums = np.abs(with_drums.samples[:length] - without.samples[:length]).max(axis=1)
    loudness = np.abs(without.samples).max()
    assert drums[: int(1.24 * rate)].max() < 0.01 * loudness
    for _, start, *_ in hits:
        assert drums[int(start * rate) :][: rate // 20].max() > 0.2 * loudness


@pytest.mark.parametrize(
    "name",
    [
        "attention_rnn",
        "drum_kit_rnn",
        "cat-drums_2bar",
        "nade-drums_2bar_full",
        "groovae_2bar_humanize",
        "hierdec-trio_16bar",
        "hier-multiperf_vel_1bar_med",
        "music_transformer",
        "music_transformer_jsb",
        "musenet_tiny",
    ],
)
def test_whatever_a_model_writes_is_heard(name, player, tmp_path):
    converter = build_converter(get_config(name).converter)
    steps = converter.window_steps
    if converter.event_format.segments == 1:
        steps = min(steps, 64)
    (events,) = made_up_events(converter.event_format, 1, steps, seed=1)
    written(converter.decode(events), player, tmp_path)


@pytest.mark.parametrize(
    "notes",
    [
        [],
        [(60, 0, 0.001, PIANO)],
        [(0, 0, 1, PIANO), (127, 0, 1, PIANO)],
        [(60, 0, 2, PIANO), (60, 1, 3, PIANO), (60, 1, 3, PIANO)],
        [(pitch, 0, 1, program) for pitch in range(30, 90) for program in (0, 19, 48)],
        [(60, 0, 1, program) for program in range(128)],
        [(pitch, 0, 1, None) for pitch in range(128)],
        [(60, 60, 61, PIANO)],
    ],
    ids=["none", "short", "edges", "overlapping", "180 at once", "programs", "drums", "late"],
)
def test_odd_music_is_neither_silent_nor_too_loud(notes, player, tmp_path):
    written(music(*notes), player, tmp_path)


def test_soft_music_is_heard_as_well(player, tmp_path):
    soft = music((60, 0, 1, PIANO), (64, 1, 2, PIANO))
    for note in soft.notes:
        note.velocity = 1
    samples, _ = written(soft, player, tmp_path)
    assert len(np.unique(samples)) > 1000  # not a few steps of 16 bits


def test_a_channel_s_volume_and_the_pedal_are_heard():
    player = open_soundfont()
    made = music((60, 0, 0.2, PIANO), (72, 3, 3.2, VIOLIN))
    plain = player.play(made)
    made.control_changes.add(time=0, control_number=64, control_value=127)
    made.control_changes.add(time=2, control_number=64, control_value=0)
    made.control_changes.add(
        time=0, control_number=7, control_value=50, instrument=VIOLIN, program=VIOLIN
    )
    changed, rate = player.play(made), plain.sample_rate

    def peak(audio, start, end):
        return np.abs(audio.samples[int(start * rate) : int(end * rate)]).max()

    assert peak(changed, 1.0, 1.5) > 10 * peak(plain, 1.0, 1.5)
    assert peak(changed, 0, 0.2) == pytest.approx(peak(plain, 0, 0.2), rel=0.05)
    assert peak(changed, 3, 3.2) == pytest.approx(peak(plain, 3, 3.2) / 4, rel=0.25)


def test_a_held_note_sounds_on_however_many_others_join():
    player = open_soundfont()
    organ = 19
    held = [(60, 0, 4, organ)]
    crowd = [(pitch, 1, 4, organ) for pitch in (*range(24, 60), *range(61, 97))]

    def level(*notes):
        audio = player.play(music(*notes))
        rate = audio.sample_rate
        frequencies, magnitude = spectrum(audio.samples[2 * rate : 4 * rate, 0], rate)
        return magnitude[np.abs(frequencies - 261.63) < 3].max()

    assert level(*held, *crowd) > 0.8 * level(*held)


def test_many_instruments_at_odd_times_are_mixed():
    """Renderings of one length in seconds differ by a sample."""
    rng = np.random.default_rng(0)
    player = open_soundfont()
    for length in rng.uniform(1, 2, 12):
        band = [(60, t, t + 0.1, int(t * 1e6) % 64) for t in rng.uniform(0, length, 60)]
        assert player.play(music(*band)).seconds > length


def test_more_instruments_than_channels_all_sound():
    player = open_soundfont()
    pieces = [[(60 + i, i, i + 0.5, 16 + i) for i in range(20)], [(60 + i, i, i + 0.5, 16 + i)
              for i in range(15)]]  # fmt: skip
    many, few = (player.play(music(*piece)) for piece in pieces)
    rate = many.sample_rate
    for second in range(20):
        assert np.abs(many.samples[second * rate :][: rate // 2]).max() > 0.01
    end = 14 * rate
    np.testing.assert_allclose(many.samples[:end], few.samples[:end], atol=2e-3)


# Which soundfont --------------------------------------------------------------------------------


def included():
    return Path(importlib.util.find_spec("pretty_midi").origin).parent / "TimGM6mb.sf2"


def test_the_flag_goes_before_the_variable_and_that_before_the_included_one(tmp_path, monkeypatch):
    for name in ("a.sf2", "b.sf2"):
        (tmp_path / name).symlink_to(included())
    assert open_soundfont().path == included()
    monkeypatch.setenv("MAGENTA_LITE_SOUNDFONT", str(tmp_path / "a.sf2"))
    assert open_soundfont().path == tmp_path / "a.sf2"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_soundfont("~/b.sf2").path == tmp_path / "b.sf2"


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"\0" * 1000, "cut", "folder"])
@pytest.mark.parametrize("by", ["--soundfont", "MAGENTA_LITE_SOUNDFONT"])
def test_what_is_no_soundfont_is_told_in_one_line(content, by, tmp_path, monkeypatch):
    path = tmp_path / "bad.sf2"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        whole = included().read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "cut" else content)
    if by == "MAGENTA_LITE_SOUNDFONT":
        monkeypatch.setenv(by, str(path))
    with pytest.raises(UserError, match=rf"^{by}=.*bad\.sf2 cannot be used: .*\.sf2") as caught:
        open_soundfont(str(path) if by == "--soundfont" else "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["soundfont", "renderer"])
def test_the_last_resort_says_so_in_one_line(missing, monkeypatch, capsys):
    if missing == "soundfont":
        monkeypatch.setattr(soundfont, "INCLUDED", "none.sf2")
    else:
        monkeypatch.setitem(sys.modules, "midirenderer", None)
    assert isinstance(open_soundfont(), PlainTones)
    (line,) = capsys.readouterr().err.splitlines()
    assert "plain tones" in line and "--soundfont" in line
    assert ("none.sf2" if missing == "soundfont" else "pip install midirenderer") in line


def test_a_renderer_that_fails_costs_nothing_but_its_sound(monkeypatch, tmp_path, capsys):
    player = open_soundfont()
    monkeypatch.setattr(player, "play", lambda sequence: _fail())
    written(music((60, 0, 1, PIANO)), player, tmp_path)
    assert capsys.readouterr().err == "piece-001-of-001: broken. Its sound is made of plain tones\n"


def _fail():
    raise RenderError("broken")


def test_a_panic_of_the_renderer_is_an_error_like_others(monkeypatch):
    class PanicException(BaseException):
        """As the renderer raises it."""

    def panic(soundfont, midi):
        raise PanicException("index out of bounds")

    import midirenderer

    monkeypatch.setattr(midirenderer, "render_wave_from", panic)
    with pytest.raises(RenderError, match="index out of bounds"):
        SoundFont(included())


# Files ------------------------------------------------------------------------------------------


def test_each_piece_has_three_files_and_all_have_a_picture(tmp_path):
    pieces = [music((60, 0, 1, PIANO)), music((KICK, 0, 1, None)), to_sequence([])]
    paths = write_sequences(pieces, tmp_path / "new", "run-seed3", about="model m, seed 3")
    assert [path.name for path in paths] == [
        f"run-seed3-{number:03d}-of-003.{suffix}"
        for number in (1, 2, 3)
        for suffix in ("mid", "wav", "png")
    ] + ["run-seed3-overview.png"]
    assert sorted(path.name for path in paths) == sorted(p.name for p in paths[0].parent.iterdir())
    head = mido.MidiFile(paths[3]).tracks[0]
    assert head.name == "run-seed3-002-of-003"
    assert [m.text for m in head if m.type == "text"] == ["model m, seed 3"]


def test_sounds_of_models_never_hold_what_is_no_number(tmp_path, capsys):
    samples = np.zeros((1000, 1), np.float32)
    samples[10], samples[20], samples[30], samples[40] = np.nan, np.inf, -np.inf, 0.5
    path, _ = write_sounds([{"level-0": Audio(samples, 8000)}], tmp_path, "song")
    back, _ = soundfile.read(path)
    assert back[40] == pytest.approx(0.5, abs=1e-3)
    assert np.flatnonzero(back).tolist() == [40]
    assert "3 of 1,000 samples are not finite" in capsys.readouterr().err
