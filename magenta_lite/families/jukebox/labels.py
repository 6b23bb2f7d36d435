"""Labels of a piece as ids: artist, genres, time and lyrics; and the names of these ids.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §4.3 and §4.4). Plain Python and
NumPy.
"""

from __future__ import annotations

import dataclasses
import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.config import JukeboxPriorConfig

EMPTY_GENRE = -1  # padding of the genres in a label vector
UNKNOWN = 0  # id of an unknown artist or genre, and of padding in lyrics
PADDING = -1  # padding of the indices of characters

CHARACTERS = (
    string.ascii_uppercase + string.ascii_lowercase + string.digits + ".,:;!?-+'\"()[] \t\n"
)
# Punctuation that has no decomposition in Unicode.
PLAIN = str.maketrans(
    {
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "--",
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\\": "\n",
    }
)


# Names --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class LabelNames:
    """The artists and genres that a model knows. Id 0 is that of unknown ones.

    Attributes:
        artists: Ids by normalised name; several names may share one.
        genres: Ids by normalised name, as of `artists`.
        words: Whether each word of a genre is a genre of its own; otherwise a genre is one phrase.
    """

    artists: dict[str, int]
    genres: dict[str, int]
    words: bool = False

    @classmethod
    def of(cls, artists: Iterable[str], genres: Iterable[str], words: bool = False) -> LabelNames:
        """Returns names with ids from 1 in the given order, without duplicates."""
        empty = cls({}, {}, words)
        of_artists = dict.fromkeys(empty.normalized(name) for name in artists)
        of_genres = dict.fromkeys(part for name in genres for part in empty._genre_parts(name))
        return cls(_numbered(of_artists), _numbered(of_genres), words)

    def normalized(self, name: str) -> str:
        """Returns a name in lower case; with `words`, underscores replace other characters."""
        name = name.lower()
        return re.sub("[^a-z0-9]+", "_", name).strip("_") if self.words else name

    def _genre_parts(self, name: str) -> list[str]:
        normalized = self.normalized(name)
        return normalized.split("_") if self.words else [normalized]

    def artist(self, name: str) -> int:
        """Returns the id of an artist, 0 if unknown."""
        return self.artists.get(self.normalized(name), UNKNOWN)

    def genre(self, name: str) -> tuple[int, ...]:
        """Returns the ids of a genre: one, or one for each word; 0 if unknown."""
        return tuple(self.genres.get(part, UNKNOWN) for part in self._genre_parts(name))

    def unknown(self, artist: str, genre: str) -> list[str]:
        """Returns those of these names, normalised, that are unknown."""
        artist = self.normalized(artist)
        missing = [artist] if artist not in self.artists else []
        missing += [part for part in self._genre_parts(genre) if part not in self.genres]
        return [name for name in missing if name]


def _numbered(names: dict[str, Any]) -> dict[str, int]:
    known = [name for name in names if name]
    return {name: number for number, name in enumerate(known, UNKNOWN + 1)}


# Lyrics -------------------------------------------------------------------------------------------


def alphabet(size: int) -> str:
    """Returns the characters with the ids 1 to `size` - 1; `size` 79 is the alphabet without `+`.

    Raises:
        UserError: If `size` is neither 79 nor 80.
    """
    by_size = {80: CHARACTERS, 79: CHARACTERS.replace("+", "")}
    if size not in by_size:
        raise UserError(f"model.lyric_vocabulary={size} has no alphabet; take 79 or 80")
    return by_size[size]


def clean_text(text: str, size: int) -> str:
    """Returns lyrics in the characters of an alphabet.

    Accents are removed, a backslash becomes a line break, and unknown characters are left out.
    """
    plain = unicodedata.normalize("NFKD", text.translate(PLAIN))
    known = set(alphabet(size))
    return "".join(character for character in plain if character in known)


def characters_of(text: str, size: int) -> np.ndarray:
    """Returns the ids of the characters of cleaned lyrics, int32 (n,)."""
    numbers = {character: i for i, character in enumerate(alphabet(size), 1)}
    return np.array([numbers[character] for character in clean_text(text, size)], np.int32)


def text_of(characters: Sequence[int], size: int) -> str:
    """Returns the text of ids of characters without padding."""
    letters = alphabet(size)
    return "".join(letters[number - 1] for number in characters if number)


def lyric_window(characters: int, window: int, total: int, offset: int, length: int) -> np.ndarray:
    """Returns the characters that condition a context: those around its middle.

    Assumes that the lyrics are spread evenly over the piece.

    Args:
        characters: Length of the whole lyrics.
        window: Number of characters to return.
        total: Length of the piece in samples.
        offset: First sample of the context.
        length: Length of the context in samples.

    Returns:
        Int32 (window,), indices of characters; shorter lyrics have `PADDING` in front.
    """
    if characters <= window:
        return np.r_[np.full(window - characters, PADDING), np.arange(characters)].astype(np.int32)
    middle = int(characters * (offset + length / 2) / total)
    start = min(max(middle - window // 2, 0), characters - window)
    return np.arange(start, start + window, dtype=np.int32)


# Label vectors ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PieceLabels:
    """The labels of a piece.

    Attributes:
        total: Length of the whole piece in samples.
        offset: Sample of the piece at which the codes begin.
        artist: Id of the artist.
        genres: Ids of the genres.
        characters: Ids of the characters of the whole lyrics.
    """

    total: int
    offset: int = 0
    artist: int = UNKNOWN
    genres: tuple[int, ...] = ()
    characters: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        names: LabelNames,
        config: JukeboxPriorConfig,
        total: int,
        offset: int = 0,
        artist: str = "",
        genre: str = "",
        lyrics: str = "",
    ) -> PieceLabels:
        """Returns the labels of a piece for artist, genre and lyrics in words."""
        text = characters_of(lyrics, config.lyric_vocabulary) if config.lyric_tokens else ()
        numbers = names.artist(artist), names.genre(genre)
        return cls(total, offset, *numbers, tuple(int(number) for number in text))

    def vector(self, config: JukeboxPriorConfig, start: int = 0) -> np.ndarray:
        """Returns the label vector of a context, int32 (`config.label_size`,).

        `start` is the first code of the context, counted from `offset`.

        Raises:
            UserError: If artist, genre or time lie outside the range of the model.
        """
        length = config.context * config.hop
        offset = self.offset + start * config.hop
        genres = self.genres[: config.max_genres] or (UNKNOWN,)
        self._check(config, offset, length, genres)
        padded = [*genres, *[EMPTY_GENRE] * (config.max_genres - len(genres))]
        lyrics = self.window(config, start)
        ids = np.where(lyrics == PADDING, UNKNOWN, np.array([*self.characters, UNKNOWN])[lyrics])
        return np.array([self.total, offset, length, self.artist, *padded, *ids], np.int32)

    def window(self, config: JukeboxPriorConfig, start: int = 0) -> np.ndarray:
        """Returns the indices of the characters that condition a context; see `lyric_window`."""
        length, offset = config.context * config.hop, self.offset + start * config.hop
        count = len(self.characters)
        return lyric_window(count, config.lyric_tokens, self.total, offset, length)

    def _check(
        self, config: JukeboxPriorConfig, offset: int, length: int, genres: Sequence[int]
    ) -> None:
        """Raises: UserError if a label lies outside the range of a model."""
        if not 0 <= self.artist < config.artists:
            raise UserError(f"Artist {self.artist} is none of the model's {config.artists}")
        if not all(0 <= genre < config.genres for genre in genres):
            raise UserError(f"Genres {list(genres)} are not all of the model's {config.genres}")
        total, rate = self.total, config.sample_rate
        if not 0 <= offset < total:
            raise UserError(f"Sample {offset} is not in a piece of {total} samples")
        if not config.time_bins:
            return
        if not config.min_duration <= total / rate < config.max_duration:
            raise UserError(
                f"A piece of {total / rate:.2f} s ({total} samples at {rate} Hz) is not of "
                f"{config.min_duration:g} s to less than {config.max_duration:g} s, which the "
                "model knows; say that it is longer or shorter"
            )
        if offset + length > config.max_duration * rate:
            raise UserError(
                f"A context ends after {(offset + length) / rate:.2f} s; the model knows "
                f"{config.max_duration:g} s"
            )
