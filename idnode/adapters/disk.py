"""The file system as the node uses it: whole small files, written so that a power cut leaves the old or the new one.

Databases bring their own way to the disk; this is for configuration, keys, ready files and folders. Errors of the
operating system pass as they are (FileNotFoundError, OSError with its errno). All calls block: run them in a worker
when they may take long.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Protocol, runtime_checkable

from idnode.adapters.errors import AlreadyLocked

AnyPath = str | os.PathLike[str]

_LOCK_TEXT_OCTETS = 32


class Lock(Protocol):
    """A held lock; dropped by ``release``, by leaving its ``with`` block, or by the end of the process."""

    def release(self) -> None:
        """Let others have it; may be called twice."""

    def __enter__(self) -> Lock: ...

    def __exit__(self, *error: object) -> None: ...


@runtime_checkable
class Disk(Protocol):
    """All the files there are."""

    def makedirs(self, path: AnyPath, mode: int = 0o700, *, durable: bool = True) -> None:
        """Make the folder and those above it. One that exists keeps its mode."""

    def read(self, path: AnyPath) -> bytes:
        """The whole file."""

    def read_part(self, path: AnyPath, offset: int, octets: int) -> bytes:
        """Up to ``octets`` of the file from an offset on; nothing at its end."""

    def append(self, path: AnyPath, octets: bytes) -> None:
        """Add to the end of the file, making it if need be with mode 0o600; durable only after ``sync``."""

    def write_atomic(self, path: AnyPath, octets: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
        """Replace the file, durably: after return a power cut keeps it, before it the old one or this one is there.

        Without ``durable`` a power cut may take it: for what is made anew at every start.
        """

    def lock(self, path: AnyPath) -> Lock:
        """Take an exclusive lock, made visible as a file. Raises AlreadyLocked at once instead of waiting."""

    def exists(self, path: AnyPath) -> bool: ...

    def remove(self, path: AnyPath) -> None:
        """Remove one file. Raises FileNotFoundError."""

    def listdir(self, path: AnyPath) -> list[str]:
        """The names in a folder, sorted."""

    def mode(self, path: AnyPath) -> int:
        """The permission bits, such as 0o600."""

    def free(self, path: AnyPath) -> tuple[int, int]:
        """(octets this process may still write, octets in all) of the file system under ``path``."""

    def sync(self, path: AnyPath) -> None:
        """Flush a file, or a folder's names, to the medium."""

    def temporary_folder(self, prefix: str) -> Path:
        """A new folder that only this user can enter."""

    def remove_tree(self, path: AnyPath) -> None:
        """Remove a folder with all that is in it; nothing happens when there is none."""


class _FileLock:
    """An flock: the kernel drops it when the process dies, however it dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)  # the file stays: removing it would let two hold "the" lock
            self._descriptor = -1

    def __enter__(self) -> _FileLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class RealDisk:
    """The machine's files."""

    def makedirs(self, path: AnyPath, mode: int = 0o700, *, durable: bool = True) -> None:
        missing: list[Path] = []
        folder = Path(path)
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)  # mkdir's own mode is thinned out by the umask
            if durable:
                _sync_folder(folder.parent)
        if not Path(path).is_dir():
            raise NotADirectoryError(20, "not a folder", os.fspath(path))

    def read(self, path: AnyPath) -> bytes:
        return Path(path).read_bytes()

    def read_part(self, path: AnyPath, offset: int, octets: int) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, octets, offset)
        finally:
            os.close(descriptor)

    def append(self, path: AnyPath, octets: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, octets)
        finally:
            os.close(descriptor)

    def write_atomic(self, path: AnyPath, octets: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
        target = Path(path)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        try:
            try:
                os.fchmod(descriptor, mode)
                _write_all(descriptor, octets)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            _sync_folder(target.parent)

    def lock(self, path: AnyPath) -> Lock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, _LOCK_TEXT_OCTETS, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyLocked(os.fspath(path), holder) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return _FileLock(descriptor)

    def exists(self, path: AnyPath) -> bool:
        return Path(path).exists()

    def remove(self, path: AnyPath) -> None:
        os.unlink(path)

    def listdir(self, path: AnyPath) -> list[str]:
        return sorted(os.listdir(path))

    def mode(self, path: AnyPath) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)

    def free(self, path: AnyPath) -> tuple[int, int]:
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize

    def sync(self, path: AnyPath) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def temporary_folder(self, prefix: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=prefix))

    def remove_tree(self, path: AnyPath) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)


def _write_all(descriptor: int, octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(path: Path) -> None:
    """Make the names in a folder durable; without it a power cut can take back a rename."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
