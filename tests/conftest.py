"""Settings of every test process."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Two test processes share the machine: without this each would start a thread per core.
os.environ.setdefault("OMP_NUM_THREADS", "2")
