"""Settings of every test process."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Two test processes share the machine: without this each would start a thread per core.
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Keeps the tests of a file in one process: what they share is made and compiled once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # else files of one long test would come last
    return LoadFileScheduling(config, log)
