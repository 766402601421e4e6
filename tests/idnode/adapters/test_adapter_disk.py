from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from idnode.adapters.disk import Disk, RealDisk
from idnode.adapters.disk_sim import SimulatedDisk
from idnode.adapters.errors import AlreadyLocked, Crashed
from idnode.adapters.rng import SimulatedRng


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Disk, Path]:
    """A disk of each kind, and an empty folder on it."""
    disk: Disk = RealDisk() if request.param == "real" else SimulatedDisk(SimulatedRng(1))
    disk.makedirs(tmp_path / "node")
    return disk, tmp_path / "node"


def simulated(seed: int = 1, **options) -> SimulatedDisk:
    disk = SimulatedDisk(SimulatedRng(seed), **options)
    disk.makedirs("/node")
    return disk


def test_files_are_replaced_whole_with_their_mode(place):
    disk, folder = place
    assert isinstance(disk, Disk)
    disk.write_atomic(folder / "key", b"old")
    assert (disk.read(folder / "key"), disk.mode(folder / "key")) == (b"old", 0o600)
    disk.write_atomic(folder / "key", b"newer" * 50_000, mode=0o644)
    assert (len(disk.read(folder / "key")), disk.mode(folder / "key")) == (250_000, 0o644)
    disk.write_atomic(str(folder / "empty"), b"")
    assert disk.read(folder / "empty") == b""
    assert disk.listdir(folder) == ["empty", "key"]


def test_folders_are_private_and_removable(place):
    disk, folder = place
    assert disk.mode(folder) == 0o700
    disk.makedirs(folder / "a" / "b", 0o750)
    assert disk.mode(folder / "a") == disk.mode(folder / "a" / "b") == 0o750
    disk.makedirs(folder / "a", 0o700)
    assert disk.mode(folder / "a") == 0o750
    disk.write_atomic(folder / "a" / "b" / "file", b"x")
    with pytest.raises(NotADirectoryError):
        disk.makedirs(folder / "a" / "b" / "file")
    disk.remove_tree(folder / "a")
    disk.remove_tree(folder / "a")
    assert not disk.exists(folder / "a")
    assert disk.listdir(folder) == []


def test_missing_files_are_missing(place):
    disk, folder = place
    for missing in (disk.read, disk.remove, disk.mode, disk.listdir):
        with pytest.raises(FileNotFoundError):
            missing(folder / "nothing")
    with pytest.raises(FileNotFoundError):
        disk.write_atomic(folder / "no folder" / "file", b"x")
    disk.write_atomic(folder / "file", b"x")
    disk.remove(folder / "file")
    assert not disk.exists(folder / "file")
    with pytest.raises(IsADirectoryError):
        disk.read(folder)


def test_a_failed_replacement_leaves_no_debris(place):
    disk, folder = place
    disk.makedirs(folder / "occupied")
    with pytest.raises(IsADirectoryError):
        disk.write_atomic(folder / "occupied", b"x")
    assert disk.listdir(folder) == ["occupied"]


def test_a_lock_is_exclusive_until_released(place):
    disk, folder = place
    held = disk.lock(folder / "lock")
    with pytest.raises(AlreadyLocked, match="lock is locked"):
        disk.lock(folder / "lock")
    held.release()
    held.release()
    with disk.lock(folder / "lock"), pytest.raises(AlreadyLocked):
        disk.lock(folder / "lock")
    disk.lock(folder / "lock").release()
    assert disk.exists(folder / "lock")


def test_temporary_folders_are_private_and_different(place):
    disk, _ = place
    one, other = disk.temporary_folder("idnode-"), disk.temporary_folder("idnode-")
    try:
        assert one != other
        assert one.name.startswith("idnode-")
        assert disk.mode(one) == 0o700
    finally:
        disk.remove_tree(one)
        disk.remove_tree(other)


def test_a_lock_names_its_holder_and_ends_with_the_process(tmp_path):
    code = (
        "import sys; from idnode.adapters.disk import RealDisk\n"
        "held = RealDisk().lock(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyLocked, match=f"by process {other.pid}"):
            RealDisk().lock(path)
        other.kill()
    RealDisk().lock(path).release()


def test_the_umask_does_not_decide_about_modes(tmp_path):
    disk = RealDisk()
    before = os.umask(0o077)
    try:
        disk.makedirs(tmp_path / "open", 0o755)
        disk.write_atomic(tmp_path / "open" / "file", b"x", 0o644)
    finally:
        os.umask(before)
    assert (disk.mode(tmp_path / "open"), disk.mode(tmp_path / "open" / "file")) == (0o755, 0o644)


STEPS = ("create", "write", "fsync", "rename", "fsync_folder")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("seed", range(20))
def test_a_power_cut_leaves_the_old_file_or_the_new_one(step, seed):
    disk = simulated(seed)
    disk.write_atomic("/node/file", b"old")
    disk.crash_at(step)
    with pytest.raises(Crashed, match=step):
        disk.write_atomic("/node/file", b"new contents")
    assert disk.read("/node/file") in ((b"old", b"new contents") if step == "fsync_folder" else (b"old",))
    disk.write_atomic("/node/file", b"newest")
    disk.crash()
    assert disk.read("/node/file") == b"newest"


def test_a_power_cut_before_the_folder_is_synced_shows_both_outcomes():
    outcomes = set()
    for seed in range(20):
        disk = simulated(seed)
        disk.write_atomic("/node/file", b"old")
        disk.crash_at("fsync_folder")
        with pytest.raises(Crashed):
            disk.write_atomic("/node/file", b"new")
        outcomes.add(disk.read("/node/file"))
    assert outcomes == {b"old", b"new"}


def test_a_disk_whose_fsync_lies_loses_and_tears():
    outcomes = []
    for seed in range(60):
        disk = simulated(seed, fsync_lies=True)
        disk.write_atomic("/node/file", b"0123456789")
        disk.crash()
        outcomes.append(disk.read("/node/file") if disk.exists("/node/file") else None)
    assert outcomes.count(None) > 10
    assert any(found is not None and found != b"0123456789" for found in outcomes)


@pytest.mark.parametrize("step", STEPS[:4])
def test_a_failing_step_keeps_the_old_file_and_no_debris(step):
    disk = simulated()
    disk.write_atomic("/node/file", b"old")
    disk.fail(step, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        disk.write_atomic("/node/file", b"new")
    assert (disk.read("/node/file"), disk.listdir("/node")) == (b"old", ["file"])
    disk.write_atomic("/node/file", b"newer")
    assert disk.read("/node/file") == b"newer"


def test_the_n_th_read_can_fail():
    disk = simulated()
    disk.write_atomic("/node/file", b"x")
    disk.fail("read", after=1)
    assert disk.read("/node/file") == b"x"
    with pytest.raises(OSError, match="Input/output"):
        disk.read("/node/file")
    assert disk.read("/node/file") == b"x"


def test_a_full_disk_refuses_and_recovers():
    disk = simulated(capacity=100)
    disk.write_atomic("/node/a", bytes(60))
    with pytest.raises(OSError, match="No space left") as refused:
        disk.write_atomic("/node/b", bytes(60))
    assert refused.value.errno == errno.ENOSPC
    assert disk.listdir("/node") == ["a"]
    disk.remove("/node/a")
    disk.write_atomic("/node/b", bytes(60))


def test_a_crash_frees_locks_and_the_dead_cannot_free_the_new():
    disk = simulated()
    dead = disk.lock("/node/lock")
    disk.crash()
    disk.lock("/node/lock")
    dead.release()
    with pytest.raises(AlreadyLocked):
        disk.lock("/node/lock")
