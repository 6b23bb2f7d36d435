"""Mutants of checkpoints and WAD files are read, or refused in one line, within limits."""

import itertools
import warnings

import pytest
from binary_mutants import READERS, attempt, limited_memory, mutants

COUNT = 300
MEGABYTES = 256
SHARE_READ = (0.005, 0.98)  # of the mutants, some are valid and some are not


@pytest.mark.parametrize("name", READERS)
def test_a_mutant_is_read_or_refused_in_one_line(name, tmp_path):
    reader = READERS[name]
    assert all(attempt(reader, seed, tmp_path) for seed in reader.seeds())
    chosen = list(itertools.islice(mutants(reader, seed=0), COUNT))
    assert len(set(chosen)) > 0.8 * COUNT
    with limited_memory(MEGABYTES), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escape sequences in old strings
        read = sum(attempt(reader, mutant, tmp_path) for mutant in chosen)
    low, high = SHARE_READ
    assert low * COUNT < read < high * COUNT
