"""What a floor exports is listed, sorted, complete, importable and documented."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("idnode_protocol", "idnode_registry", "idnode", "idnode_bench")


def sort_key(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    """ruff's order for ``__all__`` (RUF022): constants, classes, the rest; numbers inside a name by their value."""
    bare = name.lstrip("_")
    rank = 0 if len(bare) > 1 and bare.isupper() else 1 if bare[:1].isupper() else 2
    parts = re.findall(r"\d+|\D+", name)
    return rank, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def unsorted_names(names: list[str]) -> list[str]:
    """Names out of their place, and names listed twice."""
    misplaced = [name for name, due in zip(names, sorted(names, key=sort_key), strict=True) if name != due]
    return misplaced + sorted({name for name in names if names.count(name) > 1})


def public_names(source: str, package: str) -> set[str]:
    """Names a package's ``__init__`` defines, or brings in from itself, without an underscore before them."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        match node:
            case ast.ImportFrom(module=str(origin), names=aliases, level=0) if origin.partition(".")[0] == package:
                names.update(alias.asname or alias.name for alias in aliases)
            case ast.ImportFrom(level=level, names=aliases) if level:
                names.update(alias.asname or alias.name for alias in aliases)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return {name for name in names if not name.startswith("_")}


def missing_names(source: str, package: str, listed: list[str]) -> list[str]:
    """Public names that are not in ``__all__``."""
    return sorted(public_names(source, package) - set(listed))


def absent_names(module: ModuleType) -> list[str]:
    """Names in ``__all__`` that the module cannot deliver."""
    return [name for name in module.__all__ if not hasattr(module, name)]


def undocumented(name: str, value: Any) -> bool:
    """Whether an exported class or function has no docstring of its own (a dataclass gets a made-up one)."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return False
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    made_up = inspect.isclass(value) and text and text.startswith(f"{name}(")
    default = isinstance(value, enum.EnumMeta) and text in (None, "An enumeration.")
    return not text or bool(made_up) or default


@pytest.mark.parametrize("package", FLOORS)
def test_exports_are_sorted(package: str) -> None:
    assert unsorted_names(list(import_module(package).__all__)) == []


@pytest.mark.parametrize("package", FLOORS)
def test_exports_are_complete(package: str) -> None:
    module = import_module(package)
    source = Path(str(module.__file__)).read_text("utf-8")
    assert missing_names(source, package, list(module.__all__)) == []


@pytest.mark.parametrize("package", FLOORS)
def test_exports_are_there(package: str) -> None:
    assert absent_names(import_module(package)) == []


@pytest.mark.parametrize("package", FLOORS)
def test_exports_are_documented(package: str) -> None:
    module = import_module(package)
    assert module.__doc__
    assert [name for name in module.__all__ if undocumented(name, getattr(module, name))] == []


def test_facade_lists_what_it_loads() -> None:
    facade = import_module("idnode")
    assert set(facade._HOMES) == set(facade.__all__) - {"__version__"}
    assert set(facade.__all__) <= set(dir(facade))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        facade.nothing  # noqa: B018


def test_facade_is_lazy() -> None:
    """Importing idnode loads no floor and no library; a fresh interpreter tells."""
    code = "import sys, idnode; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code]
    loaded = set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    late = "aiohttp asyncio cryptography idnode_protocol idnode_registry pydantic typer"
    assert not loaded & set(late.split())


@pytest.mark.parametrize("names", [["b", "a"], ["a", "B"], ["B", "MAX"], ["a10", "a2"], ["a", "a"]])
def test_disorder_is_found(names: list[str]) -> None:
    assert unsorted_names(names)


def test_order_is_ruffs() -> None:
    assert unsorted_names(["LIMIT_MAX", "Handle", "Reader", "__version__", "decode", "v2", "v10"]) == []


@pytest.mark.parametrize(
    "line",
    ["from p.x import lost", "from .x import lost", "def lost(): ...", "class lost: ...", "lost = 1", "lost: int = 1"],
)
def test_unlisted_name_is_found(line: str) -> None:
    assert missing_names(f"import os\nfrom typing import Any\n_own = 1\n{line}", "p", ["found"]) == ["lost"]


def test_absent_name_is_found() -> None:
    module = ModuleType("m")
    module.__dict__.update(__all__=["here", "gone"], here=1)
    assert absent_names(module) == ["gone"]


def test_missing_docstring_is_found() -> None:
    from dataclasses import make_dataclass

    class Silent: ...

    class Loud:
        """Says what it is."""

    def silent() -> None: ...

    assert undocumented("Silent", Silent)
    assert undocumented("silent", silent)
    assert undocumented("Made", make_dataclass("Made", ["x"]))
    assert undocumented("Colour", enum.Enum("Colour", ["RED"]))
    assert not undocumented("Loud", Loud)
    assert not undocumented("NUMBER", 3)
