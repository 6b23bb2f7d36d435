"""Load test of the HTTP server: many clients at once, each answer compared with `generate`.

python scripts/benchmarks/server_load.py [--configs=cat-mel_2bar_tiny,music_transformer_tiny]
    [--clients=64] [--seconds=60] [--batches=32,1]

Serves untrained models of the configurations, once for each size of batches. Each client asks for
one piece after the other, each with one of 64 seeds. Prints throughput and percentiles of latency,
and fails if an answer is lost or is not that of its seed. Machine and load are printed first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from speed import processor

SEEDS = 64
TOKENS = 128  # of the pieces of a transformer


def options_of(config: str, seed: int) -> dict[str, Any]:
    long = {"num_tokens": TOKENS} if "transformer" in config else {}
    return {"seed": seed, **long}


def make_run(config: str, folder: Path) -> dict[int, list]:
    """Saves an untrained model; returns the notes of each seed, as `generate` makes them."""
    import keras

    import magenta_lite as ml
    from magenta_lite.server.rendering import notes_of

    keras.utils.set_random_seed(0)
    settings = ml.get_config(config)
    run = ml.as_run(settings, ml.build_model(settings)).save(folder / config)
    with contextlib.redirect_stderr(io.StringIO()):  # progress
        return {
            seed: notes_of(run.generate(num_outputs=1, **options_of(config, seed))[0])["notes"]
            for seed in range(SEEDS)
        }


async def client(
    number: int, address: str, config: str, expected: dict[int, list], until: float
) -> list[float]:
    """Returns the seconds of each request of one client."""
    found, seed = [], number
    async with httpx.AsyncClient(base_url=address, timeout=300) as http:
        while time.monotonic() < until:
            began = time.monotonic()
            answer = await http.post(
                f"/models/{config}/generate",
                json=options_of(config, seed % SEEDS),
                headers={"Accept": "application/json"},
            )
            if answer.status_code == 429:
                await asyncio.sleep(int(answer.headers["retry-after"]))
                continue
            answer.raise_for_status()
            found.append(time.monotonic() - began)
            if answer.json()["outputs"][0]["notes"] != expected[seed % SEEDS]:
                raise SystemExit(f"{config}: the answer to seed {seed % SEEDS} is another one's")
            seed += 7
    return found


async def measure(
    address: str, config: str, expected: dict[int, list], clients: int, seconds: float
) -> str:
    """Returns a row of the table."""
    warm = time.monotonic() + 0.1
    await asyncio.gather(*(client(i, address, config, expected, warm) for i in range(clients)))
    began = time.monotonic()
    found = await asyncio.gather(
        *(client(i, address, config, expected, began + seconds) for i in range(clients))
    )
    took = time.monotonic() - began
    latencies = np.concatenate([np.array(each) for each in found])
    shown = " | ".join(f"{np.percentile(latencies, p):.2f}" for p in (50, 95, 99))
    return f"{len(latencies):,} | {len(latencies) / took:.1f} | {shown}"


def serve(folder: Path, configs: list[str], batch: int) -> tuple[subprocess.Popen, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "magenta_lite.serve", f"--port={port}", f"--batch={batch}"]
    command += [f"--run_dir={folder / config}" for config in configs]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(f"{address}/health")
            return process, address
        except httpx.ConnectError:
            time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", default="cat-mel_2bar_tiny,music_transformer_tiny")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--batches", default="32,1")
    arguments = parser.parse_args()
    configs = arguments.configs.split(",")
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"{arguments.clients} clients, {arguments.seconds:g} s each\n")
    print("| model | largest batch | answers | a second | median, s | 95 % | 99 % |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = {config: make_run(config, folder) for config in configs}
        for batch in arguments.batches.split(","):
            process, address = serve(folder, configs, int(batch))
            try:
                for config in configs:
                    parts = address, config, expected[config]
                    row = asyncio.run(measure(*parts, arguments.clients, arguments.seconds))
                    print(f"| `{config}` | {batch} | {row} |", flush=True)
            finally:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
