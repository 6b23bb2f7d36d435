"""Windows in which a piece longer than the context of a model is generated."""

from __future__ import annotations

import dataclasses

from magenta_lite.errors import UserError


@dataclasses.dataclass(frozen=True)
class Window:
    """A context of a piece.

    Attributes:
        start: Index of its first code.
        given: Number of its codes that exist already.
        stop: Index after its last code.
    """

    start: int
    given: int
    stop: int


def window_starts(total: int, context: int, hop: int) -> list[int]:
    """Returns the starts of windows: every `hop` codes, the last one `context` before the end."""
    if total <= context:
        return [0]
    last = total - context
    return [*range(0, last, hop), last]


def plan_windows(total: int, context: int, hop: int, done: int = 0, ratio: int = 1) -> list[Window]:
    """Returns the windows that generate codes `done` to `total`, in order.

    Args:
        total: Length of the whole piece in codes, existing ones included.
        context: Length of a window in codes; a shorter piece has one shorter window.
        hop: Hop length between windows in codes.
        done: Number of codes that exist already.
        ratio: Codes per code of the level above.

    Raises:
        UserError: If `hop`, `total` or `context` are not multiples of `ratio`, or if windows would
            leave codes out.
    """
    if not 1 <= hop <= context:
        raise UserError(f"A hop of {hop} codes must be 1 to the {context} codes of a context")
    if hop % ratio or total % ratio or context % ratio:
        raise UserError(
            f"A hop of {hop} codes, a context of {context} and a length of {total} must be "
            f"multiples of {ratio}, the codes per code of the level above"
        )
    windows = []
    for start in window_starts(total, context, hop):
        stop = min(start + context, total)
        if done < stop:
            windows.append(Window(start, done - start, stop))
            done = stop
    return windows
