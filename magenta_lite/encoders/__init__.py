"""Notes and sound to numbers and back; numpy and note_seq only."""

from __future__ import annotations

import importlib
from typing import Any

# The encoder class of each kind of encoder section: those that read notes, and those that do not.
ENCODERS = {
    "melody": "magenta_lite.encoders.melody:MelodyEncoder",
    "drums": "magenta_lite.encoders.drums:DrumsEncoder",
    "trio": "magenta_lite.encoders.trio:TrioEncoder",
    "groove": "magenta_lite.encoders.groove:GrooveEncoder",
    "multi_performance": "magenta_lite.encoders.multi_performance:MultiPerformanceEncoder",
    "event_melody": "magenta_lite.encoders.event_sequences.melody:EventMelodyEncoder",
    "event_drums": "magenta_lite.encoders.event_sequences.drums:EventDrumsEncoder",
    "event_performance": (
        "magenta_lite.encoders.event_sequences.performance:EventPerformanceEncoder"
    ),
    "chorale": "magenta_lite.encoders.chorale:ChoraleEncoder",
    "melody_performance": "magenta_lite.encoders.melody_performance:MelodyPerformanceEncoder",
    "musenet_tokens": "magenta_lite.encoders.musenet.encoder:MuseNetEncoder",
    "performance": "magenta_lite.encoders.performance:PerformanceEncoder",
}
SOUND_ENCODERS = {
    "audio": "magenta_lite.encoders.audio:AudioEncoder",
    "codes": "magenta_lite.encoders.codes:CodesEncoder",
}


def build_encoder(config: Any):
    """Returns the encoder that the encoder section `config` describes."""
    module, name = (ENCODERS | SOUND_ENCODERS)[config.kind].split(":")
    return getattr(importlib.import_module(module), name)(config)
