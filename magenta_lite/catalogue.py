"""Descriptions of the model families and their configurations, for messages.

Imports no TensorFlow.
"""

from __future__ import annotations

import collections
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from magenta_lite.config import config_names, get_config
from magenta_lite.families import FAMILIES
from magenta_lite.modeling.family import Family

WIDTH = 79
TINY = "_tiny"  # suffix of the small variants

# The families that are presented; the others are listed with the family that they belong to.
PRESENTED = tuple(family for family in FAMILIES.values() if not family.belongs_to)


def beginnings() -> str:
    """Returns a line for each family, with the configuration to begin with."""
    lines = [f"  {family.first_config:<23} {family.name}: {family.about}" for family in PRESENTED]
    return "\n".join([*lines, "--config=FAMILY, e.g. --config=music_vae, lists all of a family"])


def family_called(name: str) -> Family | None:
    """Returns the family with this name or alias, in any spelling; None if there is none."""
    wanted = _letters(name)
    for family in PRESENTED:
        if wanted in map(_letters, (family.name, *family.aliases)):
            return family
    return None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def listing(family: Family) -> str:
    """Returns lines with the configurations of a family, grouped by the music they generate."""
    together = collections.defaultdict(list)
    names = [name for name in config_names() if _presents(family, get_config(name).family)]
    variants = [name for name in names if name.endswith(TINY) and name.removesuffix(TINY) in names]
    for name in names:
        if name not in variants:
            together[about(get_config(name))].append(name)
    lines = [f"{family.name}: {family.about}", f"  start with --config={family.first_config}"]
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
    if variants:
        lines.append(f"  Most have a small variant NAME{TINY} for first tries")
    return "\n".join(lines)


def _presents(family: Family, name: str) -> bool:
    return family.name in (name, FAMILIES[name].belongs_to)


def about(config: Any) -> str:
    """Returns a short description of the music that models of a configuration generate."""
    converter = config.converter
    bars = getattr(converter, "bars", 0)
    length = f" of {bars} bars" if bars else ""
    chords = " over chords" if getattr(converter, "chords", False) else ""
    words = {
        "melody": f"melodies{length}{chords}",
        "drums": f"drum patterns{length}",
        "trio": f"melody, bass and drums{length}",
        "groove": f"drum patterns{length} with velocities and timing",
        "multi_performance": f"a bar of up to eight instruments{chords}",
        "event_melody": f"continuations of melodies{chords}",
        "event_drums": "continuations of drums and rhythms",
        "event_performance": "continuations of performances",
        "performance": "piano performances",
        "melody_performance": "piano accompaniments of melodies",
        "chorale": "four-part chorales",
        "musenet_tokens": "bands of up to ten instruments",
    }
    if config.family == "vqvae" and config.model.quantizers > 1:
        return "sound, encoded in several codes per frame and decoded"
    if config.family == "jukebox" and converter.above_ratio > 1:
        return "upsamplers: codes of a finer level"
    if config.family == "jukebox":
        return "codes of the coarsest level of a VQ-VAE"
    more = _groove_words(config.model) if converter.kind == "groove" else ()
    return ", ".join([words.get(converter.kind, FAMILIES[config.family].about), *more])


def _groove_words(model: Any) -> Iterator[str]:
    if model.humanize:
        yield "given a quantised pattern"
    if model.tapify:
        yield "given taps"
    if model.added_classes:
        yield "with added drums"
    if model.hits_as_controls:
        yield "given hits"
