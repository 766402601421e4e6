"""The names a walk is looking for, and which of its failures depended on them.

Names lie on a stack; meeting one of them again is a loop, and the branch that met it is cut there. What was found out
above the place of the lowest cut does not depend on what lies below it: it is *closed* and may be remembered. What is
found for the name at the bottom then is the least fixed point, as if every branch had been followed for ever.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

_NEVER: Final = 1 << 30


class Frames:
    """A stack of keys. ``saw_loop``: any was met again."""

    def __init__(self) -> None:
        self._stack: list[Hashable] = []
        self._cut = _NEVER
        self.saw_loop = False

    def __contains__(self, key: Hashable) -> bool:
        return key in self._stack

    @property
    def depth(self) -> int:
        return len(self._stack)

    @contextmanager
    def frame(self, key: Hashable) -> Iterator[int]:
        """A name on the stack for the duration of the block; yields its place, 0 = bottom."""
        place, outer = len(self._stack), self._cut
        self._stack.append(key)
        self._cut = _NEVER
        try:
            yield place
        finally:
            self._stack.pop()
            self._cut = min(outer, self._cut) if self._cut < place else outer

    def is_closed(self, place: int) -> bool:
        """Whether nothing in the frame at ``place`` was cut below it; asked inside its block."""
        return self._cut >= place

    def cut_at(self, key: Hashable) -> None:
        """The key was met again: cut there."""
        self.saw_loop = True
        self._cut = min(self._cut, self._stack.index(key))

    def cut_below_all(self) -> None:
        """Something was given up because of the depth of the stack itself: nothing on it is closed."""
        self._cut = -1
