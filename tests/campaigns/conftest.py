"""The campaigns' own tools, loaded from their files: tests are not packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def load(path: Path) -> ModuleType:
    """The module in ``path``, loaded once."""
    name = "idnode_campaigns_" + path.stem
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def powercut() -> ModuleType:
    """tests/campaigns/powercut/driver.py"""
    return load(HERE / "powercut" / "driver.py")


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """tests/campaigns/oracle.py"""
    return load(HERE / "oracle.py")
