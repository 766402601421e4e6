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
