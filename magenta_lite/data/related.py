"""Finds related pieces: copies, transpositions, arrangements and performances of the same work.

Pieces are related if several passages of their melodic lines are the same. A passage is a run of
successive pitch intervals, so key, tempo, rhythm and repeated notes do not matter. The numbers
below were chosen on the fiddle tunes, the Essen collection and the chorales of music21, on 275
performances of ASAP, and on Freedoom: all 623 pairs of performances of one work are found, and the
largest group of the 4,248 fiddle tunes has 18.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from magenta_lite.converters.score import NoteArrays

INTERVALS = 12  # of a passage
DISTINCT = 5  # different intervals of a passage; scales and broken chords have fewer
SHARED = 6  # passages that related pieces have in common: about 17 notes in a row
COMMON = 100  # pieces; a passage of more of them says nothing
TOGETHER = 0.05  # seconds; largest difference between the onsets of a chord's notes
LARGEST = 40  # semitones; larger intervals count as this

# Bass lines are made of patterns that unrelated pieces share.
BASSES = range(32, 40)  # General MIDI programs
BASS_PITCH = 48  # parts with a lower median pitch are basses

SMALLEST = 4  # hashes of a piece, by which others that are alike are found
ALIKE, NEAR_COPY = 0.5, 0.8  # shares of the passages of the longer piece

MOST_PASSAGES = 4096  # of a piece, so that memory is bounded
NEIGHBOURS = 3  # pieces with a passage are compared with this number of the next ones that have it

# If one group has more than this share of the pieces, and more pieces than this, it consists of
# chance similarities: more shared passages are required, up to `MOST_SHARED`.
GREATEST_SHARE, GREATEST_GROUP, MOST_SHARED = 0.5, 100, 48

PART = 2**20  # passages of all pieces that are compared at once, on average
BUCKETS = 2**22  # of hashes, by their lowest bits

NONE = np.zeros(0, np.uint64)
FACTORS = np.array([pow(0x9E3779B97F4A7C15, i, 2**64) for i in range(1, INTERVALS + 1)], np.uint64)
MIX = np.uint64(0xBF58476D1CE4E5B9)  # of the hash SplitMix64 (Steele et al. 2014)


class Passages(Protocol):
    """The `passages` of a piece: an array, or a part of a file that is read when it is needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> np.ndarray: ...


def passages_of(music: Any) -> np.ndarray:
    """Returns the `passages` of a NoteSequence or of a score; none for sound."""
    if not hasattr(music, "notes"):
        return NONE
    notes = NoteArrays.of(music)
    columns = notes.pitch, notes.start, notes.end, notes.instrument, notes.program
    return passages(np.stack(columns, axis=1)[~notes.is_drum])


def passages(notes: np.ndarray) -> np.ndarray:
    """Returns hashes of the passages of a piece, sorted uint64 (K,).

    The lines are those of the highest notes of all parts, of the notes with no higher note above
    them, and of each part but basses.

    Args:
        notes: Pitch, start and end in seconds, part, and General MIDI program of each note, float
            (N, 5).
    """
    if len(notes) <= INTERVALS:
        return NONE
    notes = notes[np.lexsort((-notes[:, 0], notes[:, 1]))]
    chords = _chords(notes[:, 1])
    highest = np.maximum.reduceat(notes[:, 0], chords)
    lines = [highest, highest[~_covered(notes, chords)]]
    notes = notes[np.argsort(notes[:, 3], kind="stable")]
    parts = np.split(notes, 1 + np.flatnonzero(np.diff(notes[:, 3])))
    if len(parts) > 1:
        lines += [
            np.maximum.reduceat(part[:, 0], _chords(part[:, 1]))
            for part in parts
            if not _is_bass(part)
        ]
    found = np.unique(np.concatenate([_passages_in(line) for line in lines]))
    return found[:MOST_PASSAGES]  # the smallest hashes, so that related pieces keep the same ones


def _is_bass(part: np.ndarray) -> bool:
    return int(part[0, 4]) in BASSES or np.median(part[:, 0]) < BASS_PITCH


def _chords(starts: np.ndarray) -> np.ndarray:
    """Returns the index of the first note of each chord, int (C,), for ascending starts (N,)."""
    times, places = np.unique(starts, return_index=True)
    # The sum is rounded by at most one time; the difference of two times decides.
    behind = np.searchsorted(times, times + TOGETHER)
    behind = np.maximum(behind, np.arange(len(times)) + 1)
    behind -= times[behind - 1] - times >= TOGETHER
    behind += np.append(times, np.inf)[behind] - times < TOGETHER
    following = behind.tolist()
    time, count, chords = 0, len(times), []
    while time < count:
        chords.append(time)
        time = following[time]
    return places[chords]


def _covered(notes: np.ndarray, chords: np.ndarray) -> np.ndarray:
    """Returns whether a note higher than the first one of each chord still sounds, bool (C,)."""
    pitches, starts, ends = notes[:, 0], notes[:, 1], notes[:, 2]
    # Each note sounds in the chords from `first` until before `last`.
    first = np.repeat(np.arange(1, len(chords) + 1), np.diff(np.append(chords, len(notes))))
    last = np.searchsorted(starts[chords] + TOGETHER, ends)
    held = np.flatnonzero(last > first)
    first, last, pitches_held = first[held], last[held], pitches[held]
    # Row k: the highest pitch of the notes that sound in the 2**k chords from each one on. Two such
    # runs cover each note; they are then passed on to the runs of half the length.
    level = np.frexp(last - first)[1] - 1
    highest = np.full((level.max(initial=0) + 1, len(chords)), -np.inf)
    np.maximum.at(highest, (level, first), pitches_held)
    np.maximum.at(highest, (level, last - (1 << level)), pitches_held)
    for k in range(len(highest) - 1, 0, -1):
        half = 1 << (k - 1)
        np.maximum(highest[k - 1], highest[k], out=highest[k - 1])
        np.maximum(highest[k - 1][half:], highest[k][:-half], out=highest[k - 1][half:])
    return highest[0] > pitches[chords]


def _passages_in(line: np.ndarray) -> np.ndarray:
    """Returns the hashes of the passages of a line of pitches, uint64 (K,)."""
    steps = np.diff(line)
    steps = np.clip(steps[steps != 0], -LARGEST, LARGEST).astype(np.int8)
    if len(steps) < INTERVALS:
        return NONE
    runs = np.lib.stride_tricks.sliding_window_view(steps, INTERVALS)
    is_varied = (np.diff(np.sort(runs, axis=1), axis=1) != 0).sum(axis=1) >= DISTINCT - 1
    hashes = np.correlate((steps + LARGEST).astype(np.uint64), FACTORS)[is_varied]
    hashes = (hashes ^ (hashes >> np.uint64(30))) * MIX
    return hashes ^ (hashes >> np.uint64(31))


def groups(pieces: Sequence[Passages], known: Iterable[tuple[int, int]] = ()) -> np.ndarray:
    """Returns the number of the group of each piece, int (N,); related pieces are in one group.

    Time is linear in the number of passages, but for sorting them; memory is linear in the number
    of pieces, and of pairs that share passages.

    Args:
        pieces: The `passages` of each piece.
        known: Pairs of pieces that are related anyway.
    """
    known = list(known)
    pairs, shared = _pairs(pieces)
    needed = SHARED
    while True:
        found = _components(len(pieces), known + pairs[shared >= needed].tolist())
        greatest = np.bincount(found).max(initial=0)
        by_chance = greatest > max(GREATEST_GROUP, GREATEST_SHARE * len(pieces))
        if not by_chance or needed >= MOST_SHARED:
            return found
        needed *= 2


def _pairs(pieces: Sequence[Passages]) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of pieces, int (P, 2), and how many passages each pair shares, int (P,)."""
    alike, different = _alike(pieces)
    codes = shared = np.zeros(0, int)
    for hashes, owners in _in_parts(pieces, different):
        found = _codes_of_pairs(hashes, owners, len(pieces))
        codes, numbers = np.unique(np.concatenate([codes, found]), return_inverse=True)
        counts = np.concatenate([shared, np.ones(len(found), int)])
        shared = np.bincount(numbers, counts).astype(int)
    pairs = np.stack([codes // len(pieces), codes % len(pieces)], axis=1)
    always = np.full(len(alike), MOST_SHARED)
    return np.concatenate([pairs, alike]), np.concatenate([shared, always])


def _in_parts(
    pieces: Sequence[Passages], wanted: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the passages of the `wanted` pieces and the owner of each, uint64 and int (K,).

    All passages with the same hash are in one part, with their owners in ascending order.
    """
    count = -(-sum(len(pieces[i]) for i in wanted) // PART)
    edges = np.array([2**64 * part // count for part in range(1, count)], np.uint64)
    ends = np.zeros((len(wanted), count + 1), np.uint16)  # of the passages in each part
    for own, i in zip(ends, wanted, strict=True):
        own[1:-1] = np.searchsorted(pieces[i][:], edges)
        own[-1] = len(pieces[i])
    for part in range(count):
        places = zip(wanted, ends[:, part].tolist(), ends[:, part + 1].tolist(), strict=True)
        hashes = np.concatenate([pieces[i][start:end] for i, start, end in places])
        yield hashes, np.repeat(wanted, ends[:, part + 1] - ends[:, part])


def may_recur(hashes: np.ndarray) -> np.ndarray:
    """Returns the mask bool (K,) of hashes uint64 (K,) that may be there several times.

    The others are there once. To count the lowest bits is much faster than to sort.
    """
    bucket = (hashes & np.uint64(BUCKETS - 1)).astype(np.int64)
    return np.bincount(bucket, minlength=BUCKETS)[bucket] > 1


def _codes_of_pairs(hashes: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
    """Returns a number for each passage that two pieces share, which identifies the pair."""
    several = may_recur(hashes)  # few of them
    hashes, owners = hashes[several], owners[several]
    order = np.argsort(hashes, kind="stable")  # owners of equal hashes stay in ascending order
    hashes, owners = hashes[order], owners[order]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
    counts = np.diff(np.append(starts, len(hashes)))
    rare = np.repeat((counts > 1) & (counts <= COMMON), counts)
    hashes, owners = hashes[rare], owners[rare]
    matching = [hashes[:-distance] == hashes[distance:] for distance in range(1, NEIGHBOURS + 1)]
    return np.concatenate(
        [
            (owners[:-distance] * count + owners[distance:])[match]
            for distance, match in enumerate(matching, start=1)
        ]
    )


def _alike(pieces: Sequence[Passages]) -> tuple[np.ndarray, list[int]]:
    """Returns pairs of pieces that are alike, int (P, 2), and the pieces that are no near copies.

    Near copies take no part in the further search, in which their passages would be too common.
    """
    first: dict[int, int] = {}  # the first piece with one of its smallest hashes (Broder 1997)
    pairs, different = [], []
    for i, passages in enumerate(pieces):
        shares = {
            j: len(np.intersect1d(passages[:], pieces[j][:], assume_unique=True))
            / max(len(passages), len(pieces[j]))
            for j in {first.setdefault(number, i) for number in passages[:SMALLEST].tolist()} - {i}
        }
        pairs += [(i, j) for j, share in shares.items() if share >= ALIKE]
        if len(passages) and max(shares.values(), default=0) < NEAR_COPY:
            different.append(i)
    return np.array(pairs, int).reshape(-1, 2), different


def _components(count: int, pairs: Iterable[Sequence[int]]) -> np.ndarray:
    """Returns the number of the connected component of each of `count` nodes, int (count,)."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in pairs:
        a, b = root(one), root(other)
        parent[max(a, b)] = min(a, b)
    return np.array([root(node) for node in range(count)], int)
