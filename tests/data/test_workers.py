"""Worker processes: what ends, hangs or needs too much memory costs only itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magenta_lite.data.workers import Crash, Limits, WorkerPool, attempt

LIMITS = Limits(seconds=60, megabytes=300)
MEMORY = "needed more than 300 MB"


def test_what_goes_wrong_costs_one_part_only():
    items = [["1", "die", "2"], ["raise", "3"], ["memory", "4", "deep"], ["5"]]
    with WorkerPool(parts, 2, LIMITS) as pool:
        answers = list(map(list, pool.map(items, lambda _: None, 5.0)))
    assert answers == [
        [2, Crash("die", f"file whose reading ended the process (code {-signal.SIGKILL})"), 4],
        [Crash("raise", "file that cannot be read (ValueError('no'))"), 6],
        [Crash("memory", MEMORY), 8, answers[2][2]],
        [10],
    ]
    assert "RecursionError" in answers[2][2].reason


def test_what_takes_too_long_is_ended_and_named_while_it_runs():
    longest = []
    with WorkerPool(parts, 1, Limits(seconds=2, megabytes=300)) as pool:
        (answers,) = map(list, pool.map([["1", "hang", "2"]], longest.append, 0.2))
    assert answers == [2, Crash("hang", "took longer than 2 s"), 4]
    named = [busy for busy in longest if busy and busy[0] == "hang"]
    assert max(seconds for _, seconds in named) > 1


def test_all_workers_answer_one_item_together_in_order():
    words = [*map(str, range(40)), "die", *map(str, range(40)), "raise", "7"]
    items = [["1", "2"], words, [], ["3"], words[:3]]
    with WorkerPool(parts, 2, LIMITS) as pool:
        answers = pool.map(
            items, lambda _: None, 5.0, lambda item: len(item) != 1, lambda _, answer: str(answer)
        )
        first, second, *rest = map(list, answers)
    killed = Crash("die", f"file whose reading ended the process (code {-signal.SIGKILL})")
    doubled = [str(2 * i) for i in range(40)]
    assert first == ["2", "4"]
    assert second[:-2] == [*doubled, killed, *doubled]
    assert (second[-2].name, second[-1]) == ("raise", "14")
    assert rest == [[], ["6"], ["0", "2", "4"]]


def test_an_answer_that_cannot_be_kept_is_an_error():
    def arrived(_, answer):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"), WorkerPool(parts, 1, LIMITS) as pool:
        list(map(list, pool.map([["1", "2"], ["3"]], lambda _: None, 5.0, arrived=arrived)))


def test_a_worker_that_ends_between_two_parts_is_not_asked_again():
    with WorkerPool(parts, 1, LIMITS) as pool:
        first, second = map(list, pool.map([["1", "die between", "2"], ["3"]], lambda _: None, 5.0))
    assert first == [2, Crash("", f"file whose reading ended the process (code {-signal.SIGKILL})")]
    assert second == [6]


def test_errors_in_this_process_cost_one_part_too():
    answers = [attempt(*part) for part in parts(["raise", "1", "deep"])]
    assert [type(answer) for answer in answers] == [Crash, int, Crash]
    assert attempt("a", lambda: bytearray(2**60)) == Crash("a", "needed more memory than there is")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_workers_die_with_their_parent():
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_workers
def show(_):
    print(*[name for name, _ in pool._started.values()], *[p.pid for p in pool._processes])
    sys.stdout.flush()
with test_workers.WorkerPool(test_workers.parts, 2, test_workers.LIMITS) as pool:
    list(map(list, pool.map([["hang"], ["hang"]], show, 0.2)))
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    while (line := parent.stdout.readline().split())[:2] != ["hang", "hang"]:
        assert parent.poll() is None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while any(runs(pid) for pid in line[2:]):
        assert time.monotonic() < end
        time.sleep(0.1)


def runs(pid: str) -> bool:
    """Returns whether a worker of this number runs; a process that has ended has no command."""
    try:
        return b"data.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def parts(item: list[str]):
    """Yields a part for each word; numbers are doubled, other words are what goes wrong."""
    for word in item:
        if word == "die between":
            os.kill(os.getpid(), signal.SIGKILL)
        yield word, lambda word=word: DEEDS.get(word, lambda: 2 * int(word))()


def _raise():
    raise ValueError("no")


def _print_and_die():
    print("a stray print does no harm")
    os.kill(os.getpid(), signal.SIGKILL)


def _deep():
    return _deep()


DEEDS = {
    "die": _print_and_die,
    "raise": _raise,
    "memory": lambda: len(bytearray(400 * 2**20)),
    "deep": _deep,
    "hang": lambda: time.sleep(600),
}
