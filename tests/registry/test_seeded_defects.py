"""Ten defects seeded on purpose: the comparison with the model finds each of them, and nothing in the code as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEFECTS = sorted((Path(__file__).parent / "defects").glob("*.patch"))

CHILD = """
import random, sys
import idnode_registry
assert idnode_registry.__file__.startswith(sys.argv[1]), idnode_registry.__file__
from idnode_registry.engines.memory import MemoryStore
from tests.registry.test_registry_machine import Pair, prepared
for number in range(600):
    pair = Pair(MemoryStore("fold-all"), random.Random(number))
    prepared(pair)
    for _ in range(50):
        pair.step()
"""


def compared(folder: Path) -> subprocess.CompletedProcess[str]:
    """The comparison, run with the registry in ``folder``; stops at the first difference."""
    places = [folder / "registry", ROOT, ROOT / "protocol"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    command = [sys.executable, "-c", CHILD, str(folder)]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "registry", tmp_path / "registry", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_there_are_ten() -> None:
    assert len(DEFECTS) == 10


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda path: path.stem)
def test_the_defect_is_found(defect: Path, copy: Path) -> None:
    subprocess.run(["patch", "-p1", "--silent", "-i", str(defect)], cwd=copy, check=True)
    ended = compared(copy)
    assert ended.returncode != 0
    assert "AssertionError" in ended.stderr, ended.stderr[-2_000:]


def test_without_a_defect_nothing_is_found(copy: Path) -> None:
    ended = compared(copy)
    assert ended.returncode == 0, ended.stderr[-2_000:]
