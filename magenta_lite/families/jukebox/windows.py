"""In which windows a piece is written that is longer than the context of a model."""

from __future__ import annotations

import dataclasses

from magenta_lite.errors import UserError


@dataclasses.dataclass(frozen=True)
class Window:
    """A context of a piece.

    Attributes:
        start: Number of its first code.
        given: Codes from there on that there are already.
        stop: Number after the last code that it writes.
    """

    start: int
    given: int
    stop: int


def window_starts(total: int, context: int, hop: int) -> list[int]:
    """Returns where windows start: every `hop` codes, the last one `context` before the end."""
    if total <= context:
        return [0]
    last = total - context
    return [*range(0, last, hop), last]


def plan_windows(total: int, context: int, hop: int, done: int = 0, ratio: int = 1) -> list[Window]:
    """Returns the windows that write codes `done` to `total`, in order.

    Args:
        total: Codes of the whole piece, those that there are already included.
        context: Codes of a window; a shorter piece has one window, with fewer.
        hop: Codes from the start of a window to that of the next.
        done: Codes that there are already.
        ratio: Codes that stand below one code of the level above.

    Raises:
        UserError: If a window would not begin, or the piece end, at a code above; or if windows
            would leave codes out.
    """
    if not 1 <= hop <= context:
        raise UserError(f"A hop of {hop} codes must be 1 to the {context} codes of a context")
    if hop % ratio or total % ratio or context % ratio:
        raise UserError(
            f"A hop of {hop} codes, a context of {context} and a length of {total} must be "
            f"multiples of the {ratio} codes that stand below one above"
        )
    windows = []
    for start in window_starts(total, context, hop):
        stop = min(start + context, total)
        if done < stop:
            windows.append(Window(start, done - start, stop))
            done = stop
    return windows
