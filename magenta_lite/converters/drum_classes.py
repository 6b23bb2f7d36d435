"""Classes of drum pitches of similar sound; the first pitch of a class is used for decoding."""

from __future__ import annotations

Pitches = tuple[tuple[int, ...], ...]

REDUCED: Pitches = (
    (36, 35),  # kick
    (38, 27, 28, 31, 32, 33, 34, 37, 39, 40, 56, 65, 66, 75, 85),  # snare
    (42, 44, 54, 68, 69, 70, 71, 73, 78, 80, 22),  # closed hi-hat
    (46, 67, 72, 74, 79, 81, 26),  # open hi-hat
    (45, 29, 41, 43, 61, 64, 84),  # low tom
    (48, 47, 60, 63, 77, 86, 87),  # mid tom
    (50, 30, 62, 76, 83),  # high tom
    (49, 52, 55, 57, 58),  # crash
    (51, 53, 59, 82),  # ride
)

# A class for every pitch, in the order of an older grouping: 43 is a high tom, 52 a ride; 22 and 26
# are missing.
_FULL_ORDER: Pitches = (
    (36, 35),
    (38, 27, 28, 31, 32, 33, 34, 37, 39, 40, 56, 65, 66, 75, 85),
    (42, 44, 54, 68, 69, 70, 71, 73, 78, 80),
    (46, 67, 72, 74, 79, 81),
    (45, 29, 41, 61, 64, 84),
    (48, 47, 60, 63, 77, 86, 87),
    (50, 30, 43, 62, 76, 83),
    (49, 55, 57, 58),
    (51, 52, 53, 59, 82),
)
FULL: Pitches = tuple((pitch,) for pitches in _FULL_ORDER for pitch in pitches)

# Pitches of a Roland TD-11, the kit of the Groove MIDI Dataset.
ROLAND: Pitches = (
    (36,),
    (38, 37, 40),
    (42, 22, 44),
    (46, 26),
    (43, 58),
    (47, 45),
    (50, 48),
    (49, 52, 55, 57),
    (51, 53, 59),
)

OPEN_HI_HAT = 3

NAMES = {
    22: "closed hi-hat edge",
    26: "open hi-hat edge",
    35: "kick 2",
    36: "kick",
    37: "side stick",
    38: "snare",
    39: "clap",
    40: "snare 2",
    41: "low floor tom",
    42: "closed hi-hat",
    43: "high floor tom",
    44: "pedal hi-hat",
    45: "low tom",
    46: "open hi-hat",
    47: "low mid tom",
    48: "mid tom",
    49: "crash",
    50: "high tom",
    51: "ride",
    52: "china",
    53: "ride bell",
    55: "splash",
    57: "crash 2",
    59: "ride 2",
}


def class_of_pitch(classes: Pitches) -> dict[int, int]:
    """Returns the class of each MIDI pitch."""
    return {pitch: i for i, pitches in enumerate(classes) for pitch in pitches}


def pitch_of_class(classes: Pitches) -> tuple[int, ...]:
    """Returns the MIDI pitch that each class decodes to."""
    return tuple(pitches[0] for pitches in classes)


def drum_name(pitch: int) -> str:
    """Returns a drummer's name for the drum of a MIDI pitch, or General MIDI's name."""
    import pretty_midi

    return NAMES.get(pitch) or pretty_midi.note_number_to_drum_name(pitch).lower() or str(pitch)
