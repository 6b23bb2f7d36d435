"""Piano rolls: where notes stand in a picture."""

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.plots import piano_roll


def test_notes_are_bars_from_their_begin_to_their_end_and_louder_is_darker():
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=60)  # a beat is a second
    sequence.notes.add(pitch=60, start_time=1, end_time=2.5, velocity=127)
    sequence.notes.add(pitch=67, start_time=2, end_time=3, velocity=1, instrument=1)
    (axes,) = piano_roll(sequence).axes
    (notes,) = axes.collections
    corners = [path.vertices for path in notes.get_paths()]
    found = [(*each.min(axis=0), *each.max(axis=0)) for each in corners]
    np.testing.assert_allclose(found, [(1, 59.55, 2.5, 60.45), (2, 66.55, 3, 67.45)])
    loud, quiet = notes.get_facecolor()
    assert loud[3] == pytest.approx(1) and quiet[3] < 0.4
    assert not np.array_equal(loud[:3], quiet[:3])
    assert axes.get_xlim() == (0, 4) and axes.get_ylim() == (58, 69)
