"""Files in memory that can lose power, run full and fail, step by step.

A file is an inode; names point at inodes. Both have a live and a durable side: ``fsync`` of a file copies its content
over, ``fsync`` of a folder its names. ``crash`` forgets what is not durable, or keeps a part of it: content is torn at
a random octet, and a random number of the last name changes is undone (in order, as journalling file systems do).
Folders are durable at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from idnode.adapters.disk import AnyPath, Lock
from idnode.adapters.errors import AlreadyLocked, Crashed
from idnode.adapters.rng import SimulatedRng

Step = Literal["create", "write", "fsync", "rename", "fsync_folder", "unlink", "read"]


@dataclass(slots=True, eq=False)
class _Inode:
    mode: int
    live: bytes = b""
    durable: bytes = b""


_Names = dict[Path, _Inode]


@dataclass(slots=True)
class _Trap:
    """The n-th next time this step happens, fail with the errno; 0 = the power goes."""

    step: Step
    after: int
    errno: int


class _SimulatedLock:
    def __init__(self, locks: set[Path], path: Path) -> None:
        self._locks = locks
        self._path = path
        self._is_held = True

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._locks.discard(self._path)

    def __enter__(self) -> _SimulatedLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class SimulatedDisk:
    """A disk in memory. ``capacity`` in octets (None = endless); ``fsync_lies=True`` acknowledges without doing."""

    def __init__(self, rng: SimulatedRng, *, capacity: int | None = None, fsync_lies: bool = False) -> None:
        self._rng = rng
        self._capacity = capacity
        self._fsync_lies = fsync_lies
        self._folders: dict[Path, int] = {Path("/"): 0o755, Path("/tmp"): 0o777, Path("/data"): 0o700}
        self._names: _Names = {}
        self._durable_names: _Names = {}
        self._pending: list[tuple[Path, Callable[[_Names], object]]] = []
        self._locks: set[Path] = set()
        self._traps: list[_Trap] = []

    # Faults.

    def fail(self, step: Step, code: int = errno.EIO, *, after: int = 0) -> None:
        """Let one coming step fail with an OSError of this errno: the next such step, or the one ``after`` so many."""
        self._traps.append(_Trap(step, after, code))

    def crash_at(self, step: Step, *, after: int = 0) -> None:
        """Let the power go just before that step; the caller gets Crashed, and the disk is as after ``crash``."""
        self._traps.append(_Trap(step, after, 0))

    def crash(self) -> None:
        """Lose the power and come back: what was not durable is gone or torn, locks are free, traps are forgotten."""
        kept = self._rng.below(len(self._pending) + 1)
        for _, change in self._pending[:kept]:
            change(self._durable_names)
        for inode in dict.fromkeys(self._durable_names.values()):
            if inode.live != inode.durable:
                inode.durable = inode.live[: self._rng.below(len(inode.live) + 1)]
            inode.live = inode.durable
        self._names = dict(self._durable_names)
        self._pending.clear()
        self._locks = set()  # old holders keep the old set: they died, their release must not free a new lock
        self._traps.clear()

    def _step(self, step: Step) -> None:
        for trap in self._traps:
            if trap.step != step:
                continue
            if trap.after:
                trap.after -= 1
                continue
            self._traps.remove(trap)
            if trap.errno:
                raise OSError(trap.errno, os.strerror(trap.errno))
            self.crash()
            raise Crashed(f"the power went before {step}")

    def _rename_in(self, folder: Path, change: Callable[[_Names], object]) -> None:
        change(self._names)
        self._pending.append((folder, change))

    def _sync_file(self, inode: _Inode) -> None:
        self._step("fsync")
        if not self._fsync_lies:
            inode.durable = inode.live

    def _sync_folder(self, folder: Path) -> None:
        self._step("fsync_folder")
        if self._fsync_lies:
            return
        for where, change in self._pending:
            if where == folder:
                change(self._durable_names)
        self._pending = [pending for pending in self._pending if pending[0] != folder]

    # Files.

    def makedirs(self, path: AnyPath, mode: int = 0o700, *, durable: bool = True) -> None:
        folder = _absolute(path)
        for one in (*reversed(folder.parents), folder):
            if one in self._names:
                raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(one))
            self._folders.setdefault(one, mode)

    def read(self, path: AnyPath) -> bytes:
        inode = self._inode(path)
        self._step("read")
        return inode.live

    def read_part(self, path: AnyPath, offset: int, octets: int) -> bytes:
        return self.read(path)[offset : offset + octets]

    def append(self, path: AnyPath, octets: bytes) -> None:
        place = _absolute(path)
        if place.parent not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
        if place not in self._names:
            self._step("create")
            inode = _Inode(0o600)
            self._rename_in(place.parent, lambda names: names.update({place: inode}))
        whole = self._inode(path)
        self._write(whole, whole.live + octets, whole.live)

    def write_atomic(self, path: AnyPath, octets: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
        target = _absolute(path)
        folder = target.parent
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
        if target in self._folders:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        part = folder / f".{target.name}.{self._rng.octets(4).hex()}.part"
        inode = _Inode(mode)
        try:
            self._step("create")
            self._rename_in(folder, lambda names: names.update({part: inode}))
            self._write(inode, bytes(octets))
            if durable:
                self._sync_file(inode)
            self._step("rename")
        except OSError:
            if part in self._names:
                self._rename_in(folder, lambda names: names.pop(part, None))
            raise
        self._rename_in(folder, lambda names: names.update({target: names.pop(part)}))
        if durable:
            self._sync_folder(folder)

    def _write(self, inode: _Inode, octets: bytes, before: bytes = b"") -> None:
        self._step("write")
        used = sum(len(other.live) for other in self._names.values()) - len(before)
        room = len(octets) if self._capacity is None else max(self._capacity - used, 0)
        inode.live = octets[:room]
        if room < len(octets):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def lock(self, path: AnyPath) -> Lock:
        place = _absolute(path)
        if place in self._locks:
            raise AlreadyLocked(str(place), "")
        if place.parent not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
        if place not in self._names:
            inode = _Inode(0o600)
            self._rename_in(place.parent, lambda names: names.update({place: inode}))
        self._locks.add(place)
        return _SimulatedLock(self._locks, place)

    def exists(self, path: AnyPath) -> bool:
        place = _absolute(path)
        return place in self._names or place in self._folders

    def remove(self, path: AnyPath) -> None:
        self._inode(path)
        self._step("unlink")
        place = _absolute(path)
        self._rename_in(place.parent, lambda names: names.pop(place, None))

    def listdir(self, path: AnyPath) -> list[str]:
        folder = _absolute(path)
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        return sorted(one.name for one in (*self._names, *self._folders) if one.parent == folder and one != folder)

    def mode(self, path: AnyPath) -> int:
        place = _absolute(path)
        return self._folders[place] if place in self._folders else self._inode(place).mode

    def free(self, path: AnyPath) -> tuple[int, int]:
        total = 1 << 40 if self._capacity is None else self._capacity
        used = sum(len(inode.live) for inode in self._names.values())
        return max(0, total - used), total

    def sync(self, path: AnyPath) -> None:
        where = _absolute(path)
        if where in self._folders:
            self._sync_folder(where)
        else:
            self._sync_file(self._inode(path))

    def temporary_folder(self, prefix: str) -> Path:
        folder = Path("/tmp") / f"{prefix}{self._rng.octets(4).hex()}"
        self.makedirs(folder, 0o700)
        return folder

    def remove_tree(self, path: AnyPath) -> None:
        top = _absolute(path)
        for place in [one for one in self._names if top in one.parents]:
            self.remove(place)
        self._folders = {one: mode for one, mode in self._folders.items() if one != top and top not in one.parents}

    def _inode(self, path: AnyPath) -> _Inode:
        place = _absolute(path)
        inode = self._names.get(place)
        if inode is None:
            code = errno.EISDIR if place in self._folders else errno.ENOENT
            raise OSError(code, os.strerror(code), str(place))  # becomes FileNotFoundError or IsADirectoryError
        return inode


def _absolute(path: AnyPath) -> Path:
    """The simulated working folder is the root."""
    return Path(os.path.normpath(Path("/") / path))
