"""Time, memory and disk of building data sets from a large folder or archive, as a Markdown table.

python scripts/benchmarks/make_large_folder.py songs --files=2000
python scripts/benchmarks/large_folders.py songs [--configs=cat-mel_2bar,...] [--data_dir=FOLDER]

Each configuration is built in a process of its own. CPU time is that of all its processes from the
end of the imports on, with the start of the workers. Memory is the peak of the proportional set
sizes (PSS) of all its processes together, which counts shared pages once; Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from speed import processor

CONFIGS = "cat-mel_2bar,hierdec-trio_16bar,music_transformer_tiny,basic_improv,musenet_tiny"
EVERY = 0.25  # seconds between two looks at the memory


class Measured(NamedTuple):
    """CPU and wall time in seconds, memory and disk in bytes."""

    windows: int
    cpu: float
    wall: float
    memory: int
    disk: int


def build(name: str, source: str, data_dir: str) -> None:
    """Builds the data set; prints the CPU time of the imports, and then the number of windows."""
    import tensorflow_datasets  # noqa: F401

    from magenta_lite.config import get_config
    from magenta_lite.datasets import open_collection

    config = get_config(name)
    data = dataclasses.replace(config.data, source=source)
    print(time.process_time(), flush=True)
    print(sum(open_collection(data, config.converter, data_dir).sizes.values()))


def measure(name: str, source: str, data_dir: Path) -> Measured:
    """Returns the measurements of one configuration."""
    command = [sys.executable, __file__, source, "--child", name, "--data_dir", str(data_dir)]
    began, memory = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            memory = max(memory, sum(map(pss, family(process.pid))))
            time.sleep(EVERY)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.stdout
        imports, windows = process.stdout.read().split()[-2:]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed ({process.returncode})")
    return Measured(
        int(windows),
        usage.ru_utime + usage.ru_stime - float(imports),
        time.monotonic() - began,
        memory,
        sum(path.stat().st_size for path in data_dir.rglob("*") if path.is_file()),
    )


def family(pid: int) -> list[int]:
    """Returns the ids of a process and all its descendants."""
    children = []
    with contextlib.suppress(OSError):  # it has ended
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            children += map(int, path.read_text().split())
    return [pid, *(one for child in children for one in family(child))]


def pss(pid: int) -> int:
    """Returns the proportional set size of a process in bytes; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


def count_files(source: Path) -> int:
    """Returns the number of music files in a folder, a zip or a tar archive."""
    from magenta_lite.converters.base import Report
    from magenta_lite.data import archives, formats

    if archives.is_archive(source.name):
        names = (packed.name for packed in archives.files_in(source.name, source, Report()))
    else:
        names = (path.name for path in source.rglob("*"))
    return sum(map(formats.is_music, names))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="folder or archive of music")
    parser.add_argument("--configs", default=CONFIGS)
    parser.add_argument("--data_dir", help="where data sets are built and then removed")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        build(args.child, args.source, args.data_dir)
        return
    files = count_files(Path(args.source))
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores, load average {os.getloadavg()[0]:.1f}; {files:,} files")
    print(
        "| configuration | windows | CPU a file, ms | CPU, s | wall, s | peak PSS, MB | disk, MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in args.configs.split(","):
        with tempfile.TemporaryDirectory(dir=args.data_dir) as folder:
            found = measure(name, args.source, Path(folder))
        print(
            f"| {name} | {found.windows:,} | {1000 * found.cpu / files:.1f} | {found.cpu:.0f} | "
            f"{found.wall:.0f} | {found.memory / 2**20:,.0f} | {found.disk / 2**20:,.0f} |",
            flush=True,
        )
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
