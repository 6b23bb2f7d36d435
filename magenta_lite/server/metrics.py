"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("magenta_lite_requests", "Answered requests.", ["model", "status"])
LATENCY = Histogram(
    "magenta_lite_request_seconds",
    "Seconds from a request to its answer.",
    ["model"],
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300),
)
BATCH_SIZE = Histogram(
    "magenta_lite_batch_size",
    "Requests that were answered together.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64),
)
WAITING = Gauge("magenta_lite_waiting_requests", "Requests that wait.", ["model"])
MEMORY = Gauge("magenta_lite_model_bytes", "Resident memory of a loaded model.", ["model"])
