"""Tunes and chorales as sound: which they are, what is heard, and the words that are sung."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from magenta_lite.converters.audio import AudioConverterConfig
from magenta_lite.data import folk, splitting
from magenta_lite.data.formats import UnreadableError
from magenta_lite.data.labels import Labels
from magenta_lite.data.synthetic import sounding, sung, synthesis
from magenta_lite.data.synthetic.synthesis import Tone, synthesize
from magenta_lite.errors import UserError

ROOT = Path(__file__).parents[2]
DUMMY = ROOT / "tfds_datasets" / "rendered_audio" / "dummy_data"
CONFIG = AudioConverterConfig()
TIMBRES = {
    name: value for name, value in vars(synthesis).items() if isinstance(value, synthesis.Timbre)
}


@pytest.fixture
def dummy(monkeypatch):
    """The dummy books and hymns, which stand in for music21's."""
    monkeypatch.setattr(folk, "corpus_folder", lambda: DUMMY)


def _piece(name: str):
    (source,) = (s for s in sounding.list_pieces()[0] if s.name == name)
    ((piece,), _) = source.read_as(CONFIG)
    return piece


def _spectrum(samples: np.ndarray, rate: int):
    size = 2**16
    return np.fft.rfftfreq(size, 1 / rate), np.abs(
        np.fft.rfft(samples * np.hanning(len(samples)), size)
    )


def test_pieces_are_sound_that_is_neither_silent_nor_clipped(dummy):
    sources, report = sounding.list_pieces()
    assert report.kept["pieces chosen"] == len(sources) == 9  # tunes in 6/8 are not played
    heard = {}
    for source in sources:
        for piece in source.read_as(CONFIG)[0]:
            samples = piece.sequence.samples
            assert samples.dtype == np.float32
            assert np.isfinite(samples).all()
            assert 0.39 < np.abs(samples).max() < 0.91
            seconds = np.abs(samples[: len(samples) // 16_000 * 16_000, 0]).reshape(-1, 16_000)
            assert seconds.max(axis=1).min() > 0.02
            assert piece.facts["samples"] == len(samples)
            heard[piece.name] = piece.sequence
    assert len(heard) == 8  # an organ is no voice
    assert len({audio.samples.tobytes() for audio in heard.values()}) == 8


def test_the_name_decides_everything_in_every_process(dummy):
    code = (
        "import hashlib, sys; from pathlib import Path\n"
        "from magenta_lite.data import folk\n"
        "from magenta_lite.data.synthetic import sounding\n"
        "from magenta_lite.converters.audio import AudioConverterConfig\n"
        "folk.corpus_folder = lambda: Path(sys.argv[1])\n"
        "for source in sounding.list_pieces()[0]:\n"
        "    for piece in source.read_as(AudioConverterConfig())[0]:\n"
        "        digest = hashlib.sha256(piece.sequence.samples.tobytes())\n"
        "        print(piece.name, digest.hexdigest(), piece.facts)\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(DUMMY)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].splitlines()) == 8


def test_labels_say_who_what_and_which_words(dummy):
    facts = _piece("bach/sung.xml").facts
    assert (facts["artist"], facts["genre"]) == ("Bach", "chorale")
    assert facts["lyrics"] == " ".join(["lu mi so fa"] * 4)
    starts, seconds = zip(*facts["syllables"], strict=True)
    assert starts == tuple(range(0, 48, 3))
    steps = np.diff(seconds)
    assert seconds[0] == 0
    assert np.ptp(steps) < 0.002
    assert 60 / 88 <= steps[0] <= 1
    assert _piece("bach/played.xml").facts["lyrics"] == ""
    reel = _piece("ryansMammoth/FirstReel.abc#X:1").facts
    assert (reel["artist"], reel["genre"], reel["syllables"]) == ("Ryan", "reel", [])


def test_long_pieces_fade_and_lose_the_words_that_are_not_heard(dummy, monkeypatch):
    monkeypatch.setattr(sounding, "MAX_SECONDS", 5.0)
    piece = _piece("bach/sung.xml")
    assert piece.sequence.seconds == 5.0
    assert np.abs(piece.sequence.samples[-20:]).max() < 0.01
    lyrics, syllables = piece.facts["lyrics"], piece.facts["syllables"]
    assert max(second for _, second in syllables) < 5
    assert len(lyrics.split()) == len(syllables) < 16
    assert lyrics[syllables[-1][0] :] == lyrics.split()[-1]


def test_stereo_and_other_rates_have_the_same_music(dummy):
    (source, *_), _ = sounding.list_pieces()
    mono = source.read_as(AudioConverterConfig(sample_rate=8000))[0][0].sequence
    stereo = source.read_as(AudioConverterConfig(sample_rate=16_000, channels=2))[0][0].sequence
    assert (mono.samples.shape[1], stereo.samples.shape[1]) == (1, 2)
    assert abs(mono.seconds - stereo.seconds) < 0.01
    np.testing.assert_array_equal(stereo.samples[:, 0], stereo.samples[:, 1])


@pytest.mark.parametrize("name", TIMBRES)
@pytest.mark.parametrize("pitch", [45, 69, 84])
def test_tones_have_their_pitch(name, pitch):
    samples = synthesize([Tone(0.0, 1.0, pitch, 0.5, TIMBRES[name])], 16_000)
    frequencies, sizes = _spectrum(samples, 16_000)
    expected = 440 * 2 ** ((pitch - 69) / 12)
    near = (frequencies > expected * 0.97) & (frequencies < expected * 1.03)
    assert sizes[near].max() > 0.1 * sizes.max()
    # Nothing but multiples of the pitch stands out.
    best = frequencies[sizes.argmax()] / expected
    assert abs(best - round(best)) < 0.03
    assert round(best) >= 1


def test_partials_that_the_rate_cannot_hold_are_left_out():
    high = Tone(0.0, 0.5, 108, 0.5, synthesis.LUTE)  # 4186 Hz: one partial below 8 kHz
    frequencies, sizes = _spectrum(synthesize([high], 16_000)[1600:], 16_000)
    folded = (frequencies > 100) & (frequencies < 3900)
    assert sizes[folded].max() < 0.01 * sizes.max()


def test_vowels_differ_as_their_formants_do():
    def strength(syllable, low, high):
        tone = Tone(0.0, 1.0, 48, 0.5, synthesis.voice(syllable))
        frequencies, sizes = _spectrum(synthesize([tone], 16_000), 16_000)
        return sizes[(frequencies > low) & (frequencies < high)].sum() / sizes.sum()

    assert strength("mi", 2000, 2600) > 4 * strength("mu", 2000, 2600)
    assert strength("la", 600, 1300) > 2 * strength("li", 600, 1300)
    assert synthesis.voice("Psst").formants == synthesis.voice("a").formants
    assert synthesis.voice("so").noise > synthesis.voice("o").noise == 0


def test_which_pieces_there_are_does_not_follow_their_splits(monkeypatch):
    class Named:
        def __init__(self, name):
            self.name = name

    chosen = sounding._chosen([Named(f"{i}.abc") for i in range(1000)], 60)
    held_out = (splitting.TEST_SHARE + splitting.VALIDATION_SHARE) * 2**64
    assert len(chosen) == 60
    assert sum(splitting.piece_hash(source.name) > held_out for source in chosen) > 40


def test_the_corpus_of_music21_gives_the_promised_number():
    for collection, (tunes, hymns) in sounding.COLLECTIONS.items():
        sources, _ = sounding.list_pieces(collection)
        kinds = [type(source) for source in sources]
        assert kinds.count(sounding.TuneSource) == tunes
        assert kinds.count(sounding.ChoraleSource) == hymns
    with pytest.raises(UserError, match=r"'folks'.*folk"):
        sounding.list_pieces("folks")


# Chorales in MusicXML ------------------------------------------------------------------------

NOTE = (
    "<note><pitch><step>{step}</step><alter>{alter}</alter><octave>4</octave></pitch>"
    "<duration>{length}</duration>{more}</note>"
)


def _note(step, length, *lyrics, alter=0, tie="", hold=False):
    more = f'<tie type="{tie}"/>' * bool(tie)
    more += "<notations><fermata/></notations>" * hold
    for number, syllabic, text in lyrics:
        more += (
            f'<lyric number="{number}"><syllabic>{syllabic}</syllabic><text>{text}</text></lyric>'
        )
    return NOTE.format(step=step, alter=alter, length=length, more=more)


def _score(soprano, names=sung.VOICES):
    listed = "".join(f'<score-part id="{n}"><part-name>{n}</part-name></score-part>' for n in names)
    divisions = "<attributes><divisions>2</divisions></attributes>"
    bodies = [soprano] + [_note("C", 4)] * (len(names) - 1)
    parts = "".join(
        f'<part id="{n}"><measure number="1">{divisions}{body}</measure></part>'
        for n, body in zip(names, bodies, strict=True)
    )
    return f"<score-partwise><part-list>{listed}</part-list>{parts}</score-partwise>".encode()


def test_ties_rests_backups_and_accidentals_are_read():
    soprano = (
        _note("F", 1, alter=1)
        + "<note><rest/><duration>1</duration></note>"
        + _note("G", 2, tie="start")
        + _note("G", 3, tie="stop")
        + "<backup><duration>3</duration></backup>"
        + _note("B", 1, alter=-1)
    )
    notes = sung.read_chorale(_score(soprano)).notes
    assert [note[:3] for note in notes if note.voice == 0] == [
        (0.0, 0.5, 66),
        (1.0, 3.5, 67),
        (2.0, 2.5, 70),
    ]
    assert [note for note in notes if note.voice == 3] == [(0.0, 2.0, 60, 3)]


def test_words_are_joined_and_the_second_verse_goes_on_where_the_first_ends():
    soprano = (
        _note("C", 2, (1, "begin", "1. Glo"), (2, "single", "2. Et"))
        + _note("D", 2, (1, "end", "ria,"), (2, "single", "in"), hold=True)
        + _note("E", 2, (2, "single", "ter"))
        + _note("F", 2)
        + _note("E", 2, (2, "single", "ra"))
    )
    words = sung.read_chorale(_score(soprano)).syllables
    assert sung.text_of(words) == ("Gloria,\nter ra", [(0, 0.0), (3, 1.0), (8, 2.0), (12, 4.0)])


def test_packed_scores_are_read_and_others_refused():
    score = _score(_note("C", 2))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
        archive.writestr("score.xml", score)
    assert sung.read_chorale(packed.getvalue()) == sung.read_chorale(score)
    for data, message in (
        (b"no XML", "MusicXML"),
        (packed.getvalue()[:100], "MusicXML"),
        (_score("", sung.VOICES), "empty voice"),
        (_score(_note("C", 2), ("Soprano", "Organ")), "not for soprano"),
    ):
        with pytest.raises(UnreadableError, match=message):
            sung.read_chorale(data)


def test_labels_of_what_is_heard_stay_as_they_are_when_all_is_heard():
    labels = Labels("Bach", "chorale", "la la")
    assert sounding._heard(labels, [(0, 0.0), (3, 1.0)], 2.0) == (labels, [[0, 0.0], [3, 1.0]])
