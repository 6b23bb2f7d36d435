"""Converters between music or audio and arrays; they import numpy and note_seq only."""

from __future__ import annotations

from typing import Any

from magenta_lite.converters.audio import AudioConverter
from magenta_lite.converters.chorale import ChoraleConverter
from magenta_lite.converters.codes import CodesConverter
from magenta_lite.converters.converter import Converter
from magenta_lite.converters.drums import DrumsConverter
from magenta_lite.converters.event_sequences.drums import EventDrumsConverter
from magenta_lite.converters.event_sequences.melody import EventMelodyConverter
from magenta_lite.converters.event_sequences.performance import EventPerformanceConverter
from magenta_lite.converters.groove import GrooveConverter
from magenta_lite.converters.melody import MelodyConverter
from magenta_lite.converters.melody_performance import MelodyPerformanceConverter
from magenta_lite.converters.multi_performance import MultiPerformanceConverter
from magenta_lite.converters.musenet.converter import MuseNetConverter
from magenta_lite.converters.performance import PerformanceConverter
from magenta_lite.converters.trio import TrioConverter


def _by_kind(*classes: type[Converter]) -> dict[str, type[Converter]]:
    return {converter.config_class.kind: converter for converter in classes}


# The converters of notes and those of audio, by the kind of their config section.
CONVERTERS = _by_kind(
    MelodyConverter,
    DrumsConverter,
    TrioConverter,
    GrooveConverter,
    MultiPerformanceConverter,
    EventMelodyConverter,
    EventDrumsConverter,
    EventPerformanceConverter,
    ChoraleConverter,
    MelodyPerformanceConverter,
    MuseNetConverter,
    PerformanceConverter,
)
SOUND_CONVERTERS = _by_kind(AudioConverter, CodesConverter)


def build_converter(config: Any) -> Converter:
    """Returns the converter of the converter section `config`."""
    return (CONVERTERS | SOUND_CONVERTERS)[config.kind](config)
