"""Numbers that several processes see: a file of 64-bit words, mapped into each of them.

A word is read or written by one machine instruction, so nobody sees half of it (CPython copies an aligned item of eight
octets at once). Two words have no order among each other unless their users make one.
"""

from __future__ import annotations

import mmap
import os

from idnode.adapters.disk import AnyPath

WORD_OCTETS = 8


class SharedWords:
    """The words of a file, as a :class:`memoryview` of numbers from 0 to 2**64 - 1 in :attr:`words`."""

    def __init__(self, descriptor: int, *, is_writable: bool) -> None:
        try:
            access = mmap.ACCESS_WRITE if is_writable else mmap.ACCESS_READ
            self._map = mmap.mmap(descriptor, 0, access=access)
        finally:
            os.close(descriptor)
        self.words: memoryview[int] = memoryview(self._map).cast("Q")

    @classmethod
    def make(cls, path: AnyPath, count: int) -> SharedWords:
        """A new file of ``count`` words, all 0, for this user only. Raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, count * WORD_OCTETS)
        return cls(descriptor, is_writable=True)

    @classmethod
    def open(cls, path: AnyPath, *, is_writable: bool) -> SharedWords:
        """The words somebody made. Raises OSError."""
        flags = os.O_RDWR if is_writable else os.O_RDONLY
        return cls(os.open(path, flags | os.O_CLOEXEC), is_writable=is_writable)

    def close(self) -> None:
        """Unmap; the others keep theirs."""
        self.words.release()
        self._map.close()
