"""scripts/benchmarks/make_large_folder.py: songs of the size of Lakh's."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from magenta_lite.converters.base import Report
from magenta_lite.data import formats


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "scripts" / "benchmarks"))
        import make_large_folder

        yield make_large_folder


def test_songs_are_varied_and_of_the_stated_size(script):
    notes, sizes, pitches, report = [], [], set(), Report()
    for i in range(40):
        data = script.song(i)
        ((_, score),) = formats.music_in("song.mid", data, report)
        sequence = score.sequence()
        assert 3 <= len({note.instrument for note in sequence.notes}) <= 8
        notes.append(len(sequence.notes))
        sizes.append(len(data))
        pitches.add(bytes(note.pitch for note in sequence.notes[:50]))
        ends = [info.name for info in sequence.instrument_infos]
        assert len(set(ends)) == len(ends)
        meters = [meter.numerator for meter in sequence.time_signatures]
        assert set(meters) <= {2, 3, 4} and meters and sequence.tempos
    assert len(pitches) == 40 and not report.dropped
    assert np.mean(notes) == pytest.approx(5900, rel=0.15)
    assert np.mean(sizes) == pytest.approx(43_000, rel=0.15)


def test_a_folder_and_an_archive_have_the_same_songs(script, tmp_path):
    size = script.write(tmp_path / "songs", 999, 2)
    assert script.write(tmp_path / "songs.tar.gz", 999, 2) == size
    paths = sorted((tmp_path / "songs").rglob("*.mid"))
    with tarfile.open(tmp_path / "songs.tar.gz") as archive:
        members = {name: archive.extractfile(name).read() for name in archive.getnames()}
    assert members == {str(p.relative_to(tmp_path / "songs")): p.read_bytes() for p in paths}
    assert list(members) == ["000/song_000999.mid", "001/song_001000.mid"]
