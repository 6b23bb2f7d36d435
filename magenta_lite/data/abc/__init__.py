"""Tunes in ABC notation (standard 2.1, https://abcnotation.com/wiki/abc:standard:v2.1).

note_seq's own parser rejects rests, grace notes, tuplets, variant endings, parts and more, and thus
about two thirds of the tunes in published books. This reader returns the notes as performed, and
where the standard leaves something open, as Debian's `abc2midi` plays it: repeats, endings and
parts are expanded in all voices together, with their chord symbols, meters and tempos; ties are
joined, broken rhythms, tuplets, overlays and transpositions resolved. Grace notes and decorations,
which have no duration, are dropped. A pickup is moved to the end of a bar of its own, so that the
bar lines of the tune coincide with those of the NoteSequence.
"""

from magenta_lite.data.abc.books import decode, split_tunes
from magenta_lite.data.abc.fields import AbcError
from magenta_lite.data.abc.performance import read_tune

__all__ = ["AbcError", "decode", "read_tune", "split_tunes"]
