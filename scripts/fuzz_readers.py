"""Reads mutants of valid files of every format, and prints which ones are not reported properly.

python scripts/fuzz_readers.py --mutants=50000

A mutant is made from its number. A log (`--log`) keeps the outcomes, so that a run that was stopped
goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "data")]

import fuzzing  # noqa: E402
from fuzzing import Outcome  # noqa: E402


def main() -> int:
    """Returns 1 if the report of a mutant is wrong, or took too long or too much memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=2000, help="Number of mutants.")
    parser.add_argument("--first", type=int, default=0, help="Number of the first mutant.")
    parser.add_argument("--jobs", type=int, default=2, help="Number of processes.")
    parser.add_argument("--log", type=Path, help="File for the outcomes, as lines of JSON.")
    arguments = parser.parse_args()
    done = _logged(arguments.log)
    numbers = range(arguments.first, arguments.first + arguments.mutants)
    rest = [number for number in numbers if number not in done]
    for outcome in fuzzing.outcomes(rest, arguments.jobs):
        done[outcome.number] = outcome
        if arguments.log:
            with arguments.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(outcome) + "\n")
        if outcome.problem:
            print(f"{outcome.number} ({outcome.kind}): {outcome.problem:.500}", flush=True)
    chosen = [done[number] for number in numbers]
    print(_summary(chosen))
    return int(any(outcome.problem for outcome in chosen))


def _logged(log: Path | None) -> dict[int, Outcome]:
    if log is None or not log.exists():
        return {}
    lines = log.read_text(encoding="utf-8").splitlines()
    return {outcome.number: outcome for outcome in (Outcome(*json.loads(line)) for line in lines)}


def _summary(outcomes: Sequence[Outcome]) -> str:
    lines = [
        f"{'kind':<20} {'mutants':>8} {'read':>8} {'refused':>8} {'problems':>8} "
        f"{'slowest':>16} {'largest':>18}"
    ]
    for kind in sorted({outcome.kind for outcome in outcomes}):
        of = [outcome for outcome in outcomes if outcome.kind == kind]
        slow = max(of, key=lambda outcome: outcome.seconds)
        large = max(of, key=lambda outcome: outcome.megabytes)
        read = sum(outcome.is_read for outcome in of)
        problems = sum(bool(outcome.problem) for outcome in of)
        lines.append(
            f"{kind:<20} {len(of):>8,} {read:>8,} {len(of) - read:>8,} {problems:>8,} "
            f"{slow.seconds:>6.1f} s {slow.number:>8} {large.megabytes:>6.0f} MB {large.number:>8}"
        )
    reasons = Counter(reason for outcome in outcomes for reason in outcome.reasons)
    lines += [f"{n:>8,} {reason:.110}" for reason, n in reasons.most_common(25)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
