"""Floods of silent connections: the memory of the HTTP server, and what a client is told meanwhile.

python scripts/benchmarks/server_flood.py [--connections=10000] [--floods=3]

Serves a preset. After each flood all connections are closed, by the server or here.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import time
from urllib.parse import urlsplit

import httpx
import psutil
from server_load import serve

from magenta_lite import presets
from magenta_lite.server.http_limits import SILENT_SECONDS

PRESET = "folk_tunes"


def status(address: str) -> str:
    """Returns the status of a request for music, or the error without an answer."""
    try:
        path = f"{address}/models/{PRESET}/generate"
        return str(httpx.post(path, json={"seed": 1}, timeout=300).status_code)
    except httpx.TransportError as error:
        return repr(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--floods", type=int, default=3)
    arguments = parser.parse_args()
    process, address = serve(presets.FOLDER, [PRESET], 1)
    server, place = psutil.Process(process.pid), urlsplit(address)
    try:
        print(f"{status(address)} before; {server.memory_info().rss / 2**20:.0f} MB")
        for _ in range(arguments.floods):
            with contextlib.ExitStack() as stack:
                for _ in range(arguments.connections):
                    pair = place.hostname, place.port
                    stack.enter_context(socket.create_connection(pair, timeout=60))
                meanwhile = status(address)
                time.sleep(SILENT_SECONDS + 2)
            time.sleep(1)
            after, memory = status(address), server.memory_info().rss / 2**20
            print(f"{meanwhile} meanwhile, {after} afterwards; {memory:.0f} MB", flush=True)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
