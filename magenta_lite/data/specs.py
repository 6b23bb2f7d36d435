"""The data sets of the package, one `DatasetSpec` each. Imports no TensorFlow.

`tfds_datasets` defines a TFDS builder for each; `magenta_lite.datasets` opens them by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from magenta_lite.converters.audio import AudioConverterConfig
from magenta_lite.converters.base import Report
from magenta_lite.converters.chorale import ChoraleConverterConfig
from magenta_lite.converters.drums import DrumsConverterConfig
from magenta_lite.converters.event_sequences.melody import EventMelodyConverterConfig
from magenta_lite.converters.groove import GrooveConverterConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.converters.multi_performance import MultiPerformanceConverterConfig
from magenta_lite.converters.performance import PerformanceConverterConfig
from magenta_lite.converters.trio import TrioConverterConfig
from magenta_lite.data import (
    audio,
    building,
    chorales,
    contents,
    folk,
    groove_midi,
    jsb_chorales,
    listing,
    maestro,
    wad,
)
from magenta_lite.data.reading import Source
from magenta_lite.data.synthetic import arranging, rendering, sounding

# Converter sections by the names of their encodings, which follow Magenta's configuration names.
MELODY_ENCODINGS = {
    # Programs 0-31 are keyboards, mallets, organs and guitars: others rarely play the melody.
    "mel_2bar": MelodyConverterConfig(bars=2, programs=(0, 31)),
    "mel_2bar_chords": MelodyConverterConfig(bars=2, chords=True),
    "mel_16bar": MelodyConverterConfig(bars=16),
    "mel_whole": MelodyConverterConfig(bars=0, programs=(0, 31), end_token=True),
    "event_melody": EventMelodyConverterConfig(),
}
DRUM_ENCODINGS = {
    "drums_2bar": DrumsConverterConfig(bars=2),
    "drums_2bar_roll": DrumsConverterConfig(bars=2, roll=True),
    "drums_2bar_full_roll": DrumsConverterConfig(bars=2, roll=True, classes="full"),
    "groove_2bar": GrooveConverterConfig(bars=2, hop_bars=1),
    "groove_4bar": GrooveConverterConfig(bars=4, hop_bars=1),
}
BAND_ENCODINGS = {
    "trio_16bar": TrioConverterConfig(bars=16),
    "multiperf_1bar": MultiPerformanceConverterConfig(),
    "multiperf_1bar_chords": MultiPerformanceConverterConfig(chords=True),
}
PERFORMANCE_ENCODINGS = {
    "performance": PerformanceConverterConfig(),
    "performance_end": PerformanceConverterConfig(end_token=True),
}
NOTE_ENCODINGS = MELODY_ENCODINGS | DRUM_ENCODINGS | BAND_ENCODINGS | PERFORMANCE_ENCODINGS
SOUND_ENCODINGS = {
    "mono_16khz": AudioConverterConfig(),
    "mono_22khz": AudioConverterConfig(sample_rate=22_050, crop=16_384),
    "mono_44khz": AudioConverterConfig(sample_rate=44_100, crop=16_384),
}


class Part(NamedTuple):
    """A data set, or a part of it, that can be built.

    Attributes:
        description: One sentence.
        encodings: Names of the encodings known to `tfds build`; other encodings are opened by
            their converter section.
    """

    description: str
    encodings: Iterable[str]


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set: its content and where its sources are.

    Attributes:
        name: Name of the TFDS builder; users write `NAME` or `NAME:ARGUMENT`.
        list_sources: Returns the sources of an argument and a report of the dropped files; raises
            UserError for an unknown argument.
        parts: Parts by the argument that selects them; "" is the whole data set.
        argument: Meaning of the argument: the name of a `part`; the path of a `copy` of the
            published data set; or a `folder` of the user, which is then given without `NAME:`.
        encodings: Converter sections by their names in the names of built data sets.
        url: Download URL, used if no copy is given; empty for none.
    """

    name: str
    list_sources: Callable[[str], tuple[Sequence[Source], Report]]
    parts: Mapping[str, Part]
    argument: Literal["part", "copy", "folder"] = "part"
    encodings: Mapping[str, Any] = dataclasses.field(default_factory=lambda: NOTE_ENCODINGS)
    url: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether the data set consists of sound; otherwise of notes."""
        return any(converter.kind == "audio" for converter in self.encodings.values())

    def part(self, argument: str) -> Part:
        """Returns the part that `argument` selects; the whole for any other argument."""
        return self.parts.get(argument, self.parts[""])

    def config_name(
        self,
        argument: str,
        converter_config: Any,
        by_folder: bool = False,
        sources: Sequence[Source] = (),
    ) -> str:
        """Returns the TFDS config name of `argument` in the encoding of a converter section.

        For a user's files, the `sources`, the name contains their fingerprint, so that it changes
        with them and with `by_folder`.
        """
        name = self._encoding_name(converter_config)
        if not argument:
            return name
        if self.argument == "part":
            return f"{argument}_{name}"
        labels = [source.labels for source in sources if isinstance(source, audio.AudioSource)]
        more = repr(labels) if self.is_sound else ""
        more += "by folder" if by_folder else ""
        return f"{name}-{contents.fingerprint(sources, more)}"

    def _encoding_name(self, wanted: Any) -> str:
        known = (name for name, converter in self.encodings.items() if converter == wanted)
        return next(known, None) or building.converter_name(wanted)


_BAND = ("trio_16bar", *DRUM_ENCODINGS)

_SPECS = (
    DatasetSpec(
        "folk",
        folk.list_books,
        {
            "": Part(
                "Fiddle tunes of Aird (1778), O'Neill (1850 tunes) and Ryan (1883).",
                MELODY_ENCODINGS,
            ),
            "kids": Part(
                "German children's songs of the Essen collection; FOR NON-COMMERCIAL USE ONLY.",
                MELODY_ENCODINGS,
            ),
            "essen": Part(
                "The Essen folk song collection; FOR NON-COMMERCIAL USE ONLY.",
                MELODY_ENCODINGS,
            ),
        },
    ),
    DatasetSpec(
        "bach_chorales",
        chorales.list_chorales,
        {"": Part("Voices of Bach's chorales.", ("event_melody", "mel_2bar", "mel_16bar"))},
    ),
    DatasetSpec(
        "arranged",
        arranging.list_tunes,
        {
            "": Part(
                "Folk tunes and chorales, arranged for a small band.",
                (*_BAND, "mel_2bar_chords", "multiperf_1bar", "multiperf_1bar_chords"),
            ),
            "leads": Part(
                "Melodies and chords of folk tunes and chorales, without the band.",
                ("mel_2bar_chords",),
            ),
        },
    ),
    DatasetSpec(
        "rendered",
        rendering.list_pieces,
        {"": Part("Folk tunes and chorales, rendered for the piano.", PERFORMANCE_ENCODINGS)},
    ),
    DatasetSpec(
        "freedoom",
        wad.list_songs,
        {
            "": Part(
                "Windows of the songs in WAD files.",
                (*_BAND, "multiperf_1bar", "mel_2bar", "mel_16bar"),
            )
        },
        argument="copy",
    ),
    DatasetSpec(
        "groove_midi",
        groove_midi.list_grooves,
        {"": Part("Windows of the Groove MIDI Dataset.", DRUM_ENCODINGS)},
        argument="copy",
        url=groove_midi.URL,
    ),
    DatasetSpec(
        "maestro_midi",
        maestro.list_performances,
        {"": Part("Piano performances of MAESTRO 3.0.0.", PERFORMANCE_ENCODINGS)},
        argument="copy",
        url=maestro.URL,
    ),
    DatasetSpec(
        "jsb_chorales",
        jsb_chorales.list_chorales,
        {"": Part("Chorales on a grid of sixteenths.", ("chorale",))},
        argument="copy",
        encodings={"chorale": ChoraleConverterConfig()},
        url=jsb_chorales.URL,
    ),
    DatasetSpec(
        "rendered_audio",
        sounding.list_pieces,
        {"": Part("Folk tunes and chorales as sound.", SOUND_ENCODINGS)},
        encodings=SOUND_ENCODINGS,
    ),
    DatasetSpec(
        "midi_dir",
        listing.list_sources,
        {"": Part("Windows of the music in one folder.", NOTE_ENCODINGS)},
        argument="folder",
    ),
    DatasetSpec(
        "audio_dir",
        audio.list_sounds,
        {"": Part("Clips of the sound in one folder.", SOUND_ENCODINGS)},
        argument="folder",
        encodings=SOUND_ENCODINGS,
    ),
)
DATASETS = {spec.name: spec for spec in _SPECS}
