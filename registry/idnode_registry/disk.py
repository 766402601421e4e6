"""What the engines ask of the disk adapter; databases open their own files, nothing else touches the file system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Lock(Protocol):
    """A lock that is held."""

    def release(self) -> None:
        """Give it back. Idempotent; the end of the process does it too."""


class Disk(Protocol):
    """Paths are text. Everything raises OSError with its errno."""

    def makedirs(self, path: str) -> None:
        """Make the folder and its parents, mode 0700; fine if it exists."""

    def listdir(self, path: str) -> Sequence[str]:
        """The names in a folder."""

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all that is in it; nothing happens when there is none."""

    def lock(self, path: str) -> Lock:
        """Lock the file for this process alone, making it if need be; BlockingIOError when another holds it."""

    def free(self, path: str) -> tuple[int, int]:
        """(octets this process may still write, octets in all) of the file system under ``path``."""

    def sync(self, path: str) -> None:
        """Flush a file, or a folder's names, to the medium."""


class WorkDisk(Disk, Protocol):
    """What a bulk load asks for beside: files of its own."""

    def exists(self, path: str) -> bool: ...

    def read(self, path: str) -> bytes:
        """The whole file."""

    def read_part(self, path: str, offset: int, octets: int) -> bytes:
        """Up to ``octets`` from an offset on; nothing at the end of the file."""

    def write_atomic(self, path: str, octets: bytes) -> None:
        """Replace the file, durably, mode 0600."""

    def append(self, path: str, octets: bytes) -> None:
        """Add to the file's end, making it if need be, mode 0600; durable only after ``sync``."""

    def remove(self, path: str) -> None:
        """Remove one file. Raises FileNotFoundError."""
