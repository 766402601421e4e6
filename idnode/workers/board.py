"""How the processes of one node are doing: three words in the shared memory, written by their parent alone."""

from __future__ import annotations

from typing import Final

_WANTED: Final = 2
_SERVING: Final = 3
_WRITES: Final = 4


class Board:
    """Read by every process, so that any of them can say whether the whole node is ready."""

    def __init__(self, words: memoryview[int]) -> None:
        self._words = words

    def write(self, wanted: int, serving: int, *, writes: bool) -> None:
        """``serving`` of ``wanted`` resolvers answer; ``writes``: so does the registry process."""
        self._words[_WANTED], self._words[_SERVING], self._words[_WRITES] = wanted, serving, int(writes)

    def reasons(self) -> list[str]:
        """Why not all is well; empty = it is."""
        wanted, serving, writes = (self._words[place] for place in (_WANTED, _SERVING, _WRITES))
        found = [] if serving == wanted else [f"{serving} of {wanted} resolver processes answer"]
        return found if writes else [*found, "the registry process does not answer; no writes are taken"]
