"""The families of models in words: what they make, where to begin, which configurations they have.

No TensorFlow.
"""

from __future__ import annotations

import collections
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from magenta_lite.config import config_names, get_config

WIDTH = 79
TWIN = "_tiny"


class Family(NamedTuple):
    """A family of models.

    Attributes:
        name: As it is written.
        about: What it makes.
        first: The configuration to begin with.
        kinds: Of its models; see `ExperimentConfig.family`.
        others: Names by which people look for it.
        shown: Configurations that stand for all that read the same of a folder.
    """

    name: str
    about: str
    first: str
    kinds: tuple[str, ...]
    others: tuple[str, ...]
    shown: tuple[str, ...]


FAMILIES = (
    Family(
        "music_vae",
        "loops to sample, morph and vary; grooves",
        "cat-mel_2bar_tiny",
        ("music_vae",),
        ("groovae", "vae"),
        (
            "cat-mel_2bar",
            "cat-mel_2bar_med_chords",
            "hierdec-mel_16bar",
            "hierdec-trio_16bar",
            "cat-drums_2bar_small",
            "groovae_4bar",
            "hier-multiperf_vel_1bar_med",
        ),
    ),
    Family(
        "melody_rnn",
        "melodies, drums, performances that go on",
        "attention_rnn_tiny",
        ("melody_rnn",),
        ("drums_rnn", "improv_rnn", "performance_rnn", "rnn"),
        ("attention_rnn", "attention_improv", "drum_kit_rnn", "performance_with_dynamics"),
    ),
    Family(
        "music_transformer",
        "piano, accompaniments, chorales",
        "music_transformer_tiny",
        ("music_transformer",),
        ("transformer", "score2perf"),
        ("music_transformer", "music_transformer_melody", "music_transformer_jsb"),
    ),
    Family(
        "musenet",
        "minutes of music for a band of your choice",
        "musenet_nano",
        ("musenet",),
        (),
        ("musenet_small",),
    ),
    Family(
        "jukebox",
        "sound; a VQ-VAE, then priors of its codes",
        "vqvae_mini",
        ("vqvae", "jukebox", "jukebox_delay"),
        ("vqvae",),
        ("vqvae_mini",),
    ),
)


def beginnings() -> str:
    """Returns lines that name each family and the configuration to begin with."""
    lines = [f"  {family.first:<23} {family.name}: {family.about}" for family in FAMILIES]
    return "\n".join([*lines, "--config=FAMILY, e.g. --config=music_vae, lists all of a family"])


def family_called(name: str) -> Family | None:
    """Returns the family of a name, however it is written, or of one that people look for."""
    wanted = _letters(name)
    for family in FAMILIES:
        if wanted in map(_letters, (family.name, *family.others)):
            return family
    return None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def listing(family: Family) -> str:
    """Returns lines that name the configurations of a family, those for the same music together."""
    together = collections.defaultdict(list)
    names = [name for name in config_names() if get_config(name).family in family.kinds]
    twins = [name for name in names if name.endswith(TWIN) and name.removesuffix(TWIN) in names]
    for name in names:
        if name not in twins:
            together[about(get_config(name))].append(name)
    lines = [f"{family.name}: {family.about}", f"  begin with --config={family.first}"]
    for what, named in together.items():
        lines.append(f"  {what}:")
        lines += textwrap.wrap(
            ", ".join(named),
            WIDTH,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
            break_long_words=False,
            break_on_hyphens=False,
        )
    if twins:
        lines.append(f"  NAME{TWIN} is a small twin of most, for a first try")
    return "\n".join(lines)


def about(config: Any) -> str:
    """Returns in a few words what the models of a configuration make."""
    converter = config.converter
    bars = getattr(converter, "bars", 0)
    length = f" of {bars} bars" if bars else ""
    chords = " over chords" if getattr(converter, "chords", False) else ""
    words = {
        "melody": f"melodies{length}{chords}",
        "drums": f"drum patterns{length}",
        "trio": f"melody, bass and drums{length}",
        "groove": f"drumming{length} with its timing",
        "multi_performance": f"a bar of up to eight instruments{chords}",
        "event_melody": f"melodies that go on{chords}",
        "event_drums": "drums and rhythms that go on",
        "event_performance": "performances that go on",
        "performance": "piano performances",
        "melody_performance": "piano accompaniments of melodies",
        "chorale": "four-part chorales",
        "musenet_tokens": "bands of up to ten instruments",
        "audio": "sound in codes and back",
        "codes": "codes of a VQ-VAE's coarsest level",
    }
    if config.family == "vqvae" and config.model.quantizers > 1:
        return "sound in several codes a frame and back"
    if config.family == "jukebox_delay":
        return "codes of a VQ-VAE with several codes a frame (rvqvae_…)"
    if config.family == "jukebox" and converter.above_ratio > 1:
        return "upsamplers: codes of a finer level"
    more = _groove_words(converter) if converter.kind == "groove" else ()
    return ", ".join([words[converter.kind], *more])


def _groove_words(converter: Any) -> Iterator[str]:
    if converter.humanize:
        yield "made of a plain pattern"
    if converter.tapify:
        yield "made of taps"
    if converter.added_classes:
        yield "with drums added"
    if converter.hits_as_controls:
        yield "for given hits"
