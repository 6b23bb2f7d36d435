"""Settings of every test process."""

import gc
import importlib.metadata
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Two test processes share the machine: without this each would start a thread per core.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Otherwise the allocator of oneDNN never returns memory: two processes would need 18 GB.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
# Tests compile much and compute little. With `XLA_FLAGS= pytest` they run what users run.
_flags = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
# XLA ends a process whose flags it does not know, and this one may not stay.
if importlib.metadata.version("tensorflow").startswith("2.21."):
    _flags.append("--xla_cpu_use_fusion_emitters=false")
    # Compiled code has memory maps of its own, of which Linux allows a process 65,530: in parts,
    # that of all tests comes near.
    _flags.append("--xla_cpu_parallel_codegen_split_count=1")
os.environ.setdefault("XLA_FLAGS", " ".join(_flags))
# Commands of tests write nothing into the user's cache of compiled code.
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=")


# The tracing of graphs makes many long-lived objects: by default a tenth of the time of the tests
# goes into the search for garbage among them.
gc.set_threshold(100_000, 50, 100)


def pytest_collection_finish():
    """Takes imported modules out of every later search for garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Keeps the tests of a file in one process: what they share is made and compiled once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # else files of one long test would come last
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items):
    """Begins with the trainings, which take longest, so that both processes end together."""
    items.sort(key=lambda item: "training" not in item.path.parts)
