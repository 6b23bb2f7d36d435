"""Synthesizes tunes and chorales of music21's corpus as sound, the default data of audio models.

Deterministic: the selection of pieces and all random choices are seeded by hashes of their names.
The sounds let models train without a download.
"""

from __future__ import annotations

import bisect
import dataclasses
import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.converters.audio import Audio
from magenta_lite.converters.base import Report
from magenta_lite.data import abc, audio, chorales, folk, reading, related, splitting
from magenta_lite.data.formats import UnreadableError
from magenta_lite.data.labels import Labels
from magenta_lite.data.listing import list_sources
from magenta_lite.data.reading import Piece
from magenta_lite.data.synthetic import rendering, sung
from magenta_lite.data.synthetic.arranging import NotArrangedError
from magenta_lite.data.synthetic.synthesis import (
    FIDDLE,
    FLUTE,
    HARP,
    LUTE,
    ORGAN,
    PIANO,
    REED,
    Tone,
    synthesize,
    voice,
)
from magenta_lite.errors import unknown_name

MAX_SECONDS = 30.0  # of a piece; longer pieces are faded out
FADE = 1.0  # seconds
PEAK = (0.4, 0.9)  # range of the peak amplitude

ARTISTS = {
    "airdsAirs": "Aird",
    "oneills1850": "O'Neill",
    "ryansMammoth": "Ryan",
    chorales.FOLDER: "Bach",
}
METERS = ("4/4", "2/4", "2/2", "C", "C|")  # meters that can be rendered
CHORALE_QPM = (60.0, 88.0)

# Timbres of melody and accompaniment. The pedal affects only timbres that decay.
BANDS = ((PIANO, PIANO), (LUTE, LUTE), (FLUTE, HARP), (FIDDLE, PIANO), (REED, LUTE), (ORGAN, ORGAN))
CONSORTS = (ORGAN, FIDDLE, REED)  # for chorales without lyrics
VOICE_LEVELS = (0.5, 0.3, 0.3, 0.4)


class Collection(NamedTuple):
    """The largest numbers of tunes and chorales in a collection."""

    tunes: int
    chorales: int


# By the argument after `rendered_audio:`.
COLLECTIONS = {"": Collection(100, 60), "folk": Collection(160, 0), "chorales": Collection(0, 160)}


@dataclasses.dataclass(frozen=True)
class SoundingSource(reading.Source):
    """A piece that is synthesized; subclasses read its notes."""

    def tones(self) -> tuple[list[Tone], Labels, list[tuple[int, float]]]:
        """Returns tones, labels, and (index in the lyrics, time in seconds) of each syllable.

        Raises:
            UnreadableError: If the music cannot be read; the message is the reason.
            NotArrangedError: If it cannot be rendered; the message is the reason.
        """
        raise NotImplementedError

    def read_as(self, converter_config: Any) -> tuple[list[Piece], Report]:
        """Returns its sound with a converter's sample rate and channels, and a report."""
        report = Report()
        try:
            tones, labels, syllables = self.tones()
        except (UnreadableError, NotArrangedError, OSError) as error:
            report.drop(reading.reason_of(error), self.name)
            return [], report
        sound = play(tones, self.name, converter_config.sample_rate, converter_config.channels)
        labels, syllables = _heard(labels, syllables, sound.seconds)
        facts = audio.facts(sound, labels, syllables=syllables)
        report.keep("pieces")
        # Syllables have timbres of their own, so these do not tell parts apart.
        notes = np.array([(tone.pitch, tone.start, tone.end, 0, 0) for tone in tones])
        return [Piece(self.name, sound, self.split, facts, related.passages(notes))], report


@dataclasses.dataclass(frozen=True)
class TuneSource(SoundingSource):
    """A tune of a book, performed by `rendering`.

    Attributes:
        tune: The tune in ABC notation.
    """

    tune: str = ""

    def tones(self) -> tuple[list[Tone], Labels, list[tuple[int, float]]]:
        """Returns the tones of two instruments, the labels, and no syllables."""
        import note_seq

        try:
            sequence = rendering.render(abc.read_tune(self.tune), self.name)
        except abc.AbcError as error:
            raise UnreadableError(f"ABC tune: {error}") from error
        lead, others = _rng(self.name).choice(BANDS)
        pedalled = note_seq.apply_sustain_control_changes(sequence)
        tones = []
        for dry, wet in zip(sequence.notes, pedalled.notes, strict=True):
            timbre = others if dry.part else lead
            end = wet.end_time if timbre.decay else dry.end_time
            level = (dry.velocity / 127) ** 1.5
            tones.append(Tone(dry.start_time, end, dry.pitch, level, timbre))
        genre = re.search(r"(?m)^R:\s*(.+?)\s*$", self.tune)
        artist = ARTISTS[self.name.partition("/")[0]]
        return tones, Labels(artist, genre[1].lower() if genre else "tune"), []


@dataclasses.dataclass(frozen=True)
class ChoraleSource(SoundingSource):
    """A chorale: sung by a choir (the first verse), or played by instruments without lyrics."""

    def tones(self) -> tuple[list[Tone], Labels, list[tuple[int, float]]]:
        """Returns the tones of four voices, the labels, and the times of the syllables."""
        chorale = sung.read_chorale(self.read_bytes())
        rng = _rng(self.name)
        quarter = 60 / rng.uniform(*CHORALE_QPM)
        consort = rng.choice(CONSORTS)
        starts = [syllable.start for syllable in chorale.syllables]
        tones = []
        for note in chorale.notes:
            timbre = consort
            if starts:
                i = max(bisect.bisect_right(starts, note.start) - 1, 0)
                timbre = voice(chorale.syllables[i].text)
            level = VOICE_LEVELS[note.voice] * rng.uniform(0.8, 1)
            start, end = note.start * quarter, note.end * quarter
            tones.append(Tone(start, end, note.pitch, level, timbre))
        text, places = sung.text_of(chorale.syllables)
        labels = Labels(ARTISTS[chorales.FOLDER], "chorale", text)
        return tones, labels, [(i, start * quarter) for i, start in places]


def list_pieces(collection: str = "") -> tuple[list[SoundingSource], Report]:
    """Returns the pieces of a key of `COLLECTIONS`, and a report of their number.

    Raises:
        UserError: If there is no such collection, or music21 is not installed.
    """
    if collection not in COLLECTIONS:
        raise unknown_name("collection of sound", collection, filter(None, COLLECTIONS))
    most = COLLECTIONS[collection]
    corpus, report = folk.corpus_folder(), Report()
    tunes = [
        tune
        for book in folk.BOOKS[""]
        for source in list_sources(corpus / book)[0]
        for tune in _tunes(source, book)
    ]
    folder = chorales.FOLDER
    hymns = [
        ChoraleSource(source.path, f"{folder}/{source.name}")
        for source in list_sources(corpus / folder)[0]
        if source.name.endswith(("xml", ".mxl"))
    ]
    chosen = _chosen(tunes, most.tunes) + _chosen(hymns, most.chorales)
    report.keep("pieces chosen", len(chosen))
    return sorted(chosen, key=lambda source: source.name), report


def play(tones: list[Tone], name: str, sample_rate: int, channels: int = 1) -> Audio:
    """Synthesizes tones.

    Args:
        tones: At least one tone.
        name: Name of the piece, which seeds its peak amplitude.
        sample_rate: Sample rate in Hz.
        channels: Number of channels, all with the same sound.

    Returns:
        At most `MAX_SECONDS` of sound, with a peak in `PEAK`; longer pieces are faded out.
    """
    tones = [tone for tone in tones if tone.start < MAX_SECONDS]
    samples = synthesize(tones, sample_rate)
    most = int(MAX_SECONDS * sample_rate)
    if len(samples) > most:
        samples, fading = samples[:most], int(FADE * sample_rate)
        samples[-fading:] *= np.linspace(1, 0, fading, dtype=np.float32)
    samples *= np.float32(_rng(f"level of {name}").uniform(*PEAK) / np.abs(samples).max())
    return Audio(np.repeat(samples[:, None], channels, axis=1), sample_rate)


def _heard(
    labels: Labels, syllables: list[tuple[int, float]], seconds: float
) -> tuple[Labels, list[list[float]]]:
    """Returns labels and syllables without the lyrics after the first `seconds`."""
    heard = [[i, round(second, 3)] for i, second in syllables if second < seconds]
    if len(heard) < len(syllables):
        labels = dataclasses.replace(labels, lyrics=labels.lyrics[: syllables[len(heard)][0]])
    return dataclasses.replace(labels, lyrics=labels.lyrics.rstrip()), heard


def _tunes(source: reading.Source, book: str) -> list[TuneSource]:
    """Returns the tunes in a file of a book whose meters can be rendered."""
    text = Path(source.path).read_text(encoding="utf-8", errors="replace")
    tunes = []
    for number, tune in abc.split_tunes(text):
        meter = re.search(r"(?m)^M:\s*(\S+)", tune)
        if meter and meter[1] in METERS:
            tunes.append(TuneSource(source.path, f"{book}/{source.name}#X:{number}", tune=tune))
    return tunes


def _chosen(sources: list, count: int) -> list:
    """Returns `count` of the sources with the smallest hashes."""
    # A different hash from that of the splits: otherwise all of them would be held out.
    return sorted(sources, key=lambda s: splitting.piece_hash(f"sounding {s.name}"))[:count]


def _rng(name: str) -> random.Random:
    return random.Random(splitting.piece_hash(f"sound of {name}"))
