"""An interpreter of pickles that hold data; it cannot run code.

`pickle.Unpickler` calls what a pickle names, hashes keys of any depth, which ends the process or
never ends, and copies a dictionary as often as a few bytes ask for it. This one calls functions of
a given table only, and needs memory in proportion to the pickle.
"""

from __future__ import annotations

import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

MAX_OPCODES = 2_000_000  # ten times those of the largest Jukebox

SIMPLE = (str, bytes, int, float, type(None))  # types of keys
# Opcodes that push their argument.
VALUE = re.compile(
    "NONE|(BIN)?(INT[12]?|FLOAT)|LONG[14]?|(SHORT_)?(BIN)?(STRING|UNICODE8?|BYTES8?)"
)
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
IGNORED = ("PROTO", "FRAME")


class PickleError(ValueError):
    """A pickle that is damaged, or holds something else than data. The message is the reason."""


class Interpreter:
    """Reads one pickle.

    Args:
        file: The pickle; at its end afterwards, if it is read to its end.
        find: Returns what a pair of module and name stands for: a function that a pickle may call
            with arguments of any type, or a value.
        stored: Returns what a persistent id stands for.
    """

    def __init__(
        self,
        file: BinaryIO,
        find: Callable[[str, str], Any],
        stored: Callable[[Any], Any],
    ):
        self._file, self._find, self._stored = file, find, stored
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}
        self._pairs = 0

    def load(self) -> Any:
        """Returns the content.

        Raises:
            PickleError, ValueError, TypeError, LookupError, OverflowError: If it is damaged.
        """
        for number, (opcode, argument, _) in enumerate(pickletools.genops(self._file)):
            if number == MAX_OPCODES:
                raise PickleError(f"more than {MAX_OPCODES:,} parts")
            if opcode.name == "STOP":
                break
            self._do(opcode.name, argument)
        return self._stack.pop()

    def _do(self, name: str, argument: Any) -> None:
        stack = self._stack
        if VALUE.fullmatch(name):
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if argument > MAX_OPCODES:
                raise PickleError("too large a memo")
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            self._below.append(stack)
            self._stack = []
        elif name not in IGNORED:
            handler = getattr(self, f"_{name.lower()}", None)
            if handler is None:
                raise PickleError(f"{name} is not data")
            handler(argument)

    def _marked(self) -> list[Any]:
        """Returns what is above the last mark, and removes both."""
        items, self._stack = self._stack, self._below.pop()
        return items

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    def _pop_mark(self, _: Any) -> None:
        self._marked()

    def _dup(self, _: Any) -> None:
        self._push(self._stack[-1])

    # Lists, tuples and dictionaries.

    def _list(self, _: Any) -> None:
        items = self._marked()
        self._push(items)

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        self._extend(self._marked())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise PickleError("it appends to something else than a list")
        self._stack[-1].extend(items)

    def _tuple(self, _: Any) -> None:
        items = self._marked()
        self._push(tuple(items))

    def _tuple1(self, _: Any) -> None:
        self._last(1)

    def _tuple2(self, _: Any) -> None:
        self._last(2)

    def _tuple3(self, _: Any) -> None:
        self._last(3)

    def _last(self, count: int) -> None:
        self._push(tuple([self._stack.pop() for _ in range(count)][::-1]))

    def _dict(self, _: Any) -> None:
        items = self._marked()
        self._push({})
        self._update(items)

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _setitems(self, _: Any) -> None:
        self._update(self._marked())

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict):
            raise PickleError("it sets an item of something else than a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, SIMPLE):
                raise PickleError(f"a key is a {type(key).__name__}")
            self._stack[-1][key] = value

    # Names and calls.

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push(self._find(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a name is not text")
        self._push(self._find(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._call(function, arguments)

    def _newobj(self, argument: Any) -> None:
        self._reduce(argument)

    def _obj(self, _: Any) -> None:
        function, *arguments = self._marked()
        self._call(function, tuple(arguments))

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        arguments = self._marked()
        self._call(self._find(module, name), tuple(arguments))

    def _call(self, function: Any, arguments: Any) -> None:
        if function is not OrderedDict:
            if not callable(function) or not isinstance(arguments, tuple):
                raise PickleError("it calls something that is not a function")
            self._push(function(*arguments))
            return
        (pairs,) = arguments or ((),)
        self._pairs += len(pairs)
        if self._pairs > MAX_OPCODES:
            raise PickleError(f"more than {MAX_OPCODES:,} parts")
        self._push(OrderedDict())
        self._update([part for key, value in pairs for part in (key, value)])

    def _build(self, _: Any) -> None:
        """Ignores the attributes of a dictionary, e.g. the versions of PyTorch's modules."""
        self._stack.pop()
        if not isinstance(self._stack[-1], OrderedDict):
            raise PickleError("it has an object that is not a dictionary")

    def _persid(self, argument: str) -> None:
        self._push(self._stored(argument))

    def _binpersid(self, _: Any) -> None:
        self._push(self._stored(self._stack.pop()))
