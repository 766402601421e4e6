"""Imports point only downwards, and only the adapters touch the world. Read from the syntax trees, not from goodwill.

Every rule is a function from source text to complaints; below the run over the real tree, each is shown a bad sample.
The bench is held to the same rules with one exemption: it exists to measure, so it may read the measuring clocks
(``MEASURING_CLOCKS``). They say how long something took and never what time it is, so virtual time does not meet them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOCOL_FORBIDS = frozenset(
    "asyncio concurrent logging multiprocessing os pathlib random secrets select selectors shutil socket ssl "
    "subprocess tempfile threading time uuid".split()
)
REGISTRY_FORBIDS = frozenset("aiohttp asyncio asyncio_dgram logging select selectors socket ssl uvloop".split())


@dataclass(frozen=True, slots=True)
class Floor:
    """A package, where it lies, what of ours it may import, and what of anybody's it may not."""

    folder: str
    below: frozenset[str]
    forbidden: frozenset[str] = frozenset()
    standard_library_only: bool = False


FLOORS = {
    "idnode_protocol": Floor("protocol/idnode_protocol", frozenset(), PROTOCOL_FORBIDS, standard_library_only=True),
    "idnode_registry": Floor("registry/idnode_registry", frozenset({"idnode_protocol"}), REGISTRY_FORBIDS),
    "idnode": Floor("idnode", frozenset({"idnode_protocol", "idnode_registry"})),
    "idnode_bench": Floor("bench/idnode_bench", frozenset({"idnode_protocol", "idnode_registry", "idnode"})),
}

ADAPTERS = ("idnode/adapters/",)
"""The only places that may touch the world."""
WORLD_MODULES = frozenset({"_socket", "_random", "random", "secrets", "socket", "time", "uuid"})
WORLD_NAMES = frozenset(
    "builtins.open codecs.open io.open io.FileIO io.open_code os.open os.fdopen os.urandom os.getrandom "
    "datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today "
    "asyncio.sleep asyncio.timeout asyncio.timeout_at asyncio.wait_for".split()
)
FILE_METHODS = frozenset({"read_bytes", "read_text", "write_bytes", "write_text"})
PATH_LIKE = re.compile(r"(?i)(^$|path|folder|directory|file|root$)")
"""Other things open too (a challenge, a session): ``.open`` counts on something path-like, or with a file mode."""
FILE_MODE = re.compile(r"[rwxa][bt+]{0,2}")
FILE_DOORS = frozenset({"disk", "lmdb"})
"""``disk.open`` is the adapter; ``lmdb.open`` is the engine that *is* the storage."""
TIMER_METHODS = frozenset({"call_at", "call_later"})
TIMER_DOORS = frozenset({"clock", "server"})
"""A server hands its clock on to its connections; asyncio's own server has no such method."""
MEASURING_CLOCKS = frozenset(
    "time.perf_counter time.perf_counter_ns time.process_time time.process_time_ns "
    "time.thread_time time.thread_time_ns".split()
)


def type_checking_lines(tree: ast.Module) -> set[int]:
    """Lines inside ``if TYPE_CHECKING:``; they never run."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            for inner in node.body:
                lines.update(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
    return lines


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each absolute import, names taken from a module included, ``import_module("x")`` too."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in names)
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if ast.unparse(function) in (
                "__import__",
                "import_module",
                "importlib.import_module",
            ):
                yield node.lineno, name


def upward_imports(source: str, package: str) -> list[str]:
    """Imports of a floor that is not below. Types count: a floor that knows the name of a higher one leans on it."""
    allowed = FLOORS[package].below | {package}
    found = ((line, name, name.partition(".")[0]) for line, name in imports(ast.parse(source)))
    return [f"{line}: {package} may not import {name}" for line, name, top in found if top in FLOORS.keys() - allowed]


def forbidden_imports(source: str, package: str) -> list[str]:
    """Imports a floor may not have at all; for types alone they are allowed."""
    floor, tree = FLOORS[package], ast.parse(source)
    unseen = type_checking_lines(tree)
    complaints = []
    for line, name in imports(tree):
        top = name.partition(".")[0]
        if line in unseen or top == package:
            continue
        if top in floor.forbidden:
            complaints.append(f"{line}: {package} may not import {top}")
        elif floor.standard_library_only and top not in sys.stdlib_module_names and top not in FLOORS:
            complaints.append(f"{line}: {package} uses the standard library only, not {top}")
    return complaints


def aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``from asyncio import sleep as nap`` gives ``nap -> asyncio.sleep``."""
    meaning = {"open": "builtins.open"}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    top = alias.name.partition(".")[0]
                    meaning[alias.asname or top] = alias.name if alias.asname else top
            case ast.ImportFrom(module=str(module), names=names, level=0):
                meaning.update({alias.asname or alias.name: f"{module}.{alias.name}" for alias in names})
    return meaning


def dotted(node: ast.expr, meaning: dict[str, str]) -> str:
    """The full dotted name an expression refers to, or an empty string."""
    match node:
        case ast.Name(id=name):
            return meaning.get(name, "")
        case ast.Attribute(value=value, attr=attribute):
            inner = dotted(value, meaning)
            return f"{inner}.{attribute}" if inner else ""
    return ""


def last_name(node: ast.expr) -> str:
    """``self._disk`` -> ``disk``; ``get_running_loop()`` -> ``get_running_loop``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.lstrip("_")
        case ast.Call(func=function):
            return last_name(function)
    return ""


def is_file_mode(node: ast.expr) -> bool:
    """Whether an argument is the ``"rb"`` of an opened file."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(FILE_MODE.fullmatch(node.value))


def method_complaint(node: ast.Call, meaning: dict[str, str]) -> str | None:
    """A call that reaches a file or a timer through an object, unless that is an adapter or a module of ours."""
    if not isinstance(node.func, ast.Attribute) or dotted(node.func, meaning).partition(".")[0] in FLOORS:
        return None
    method, owner = node.func.attr, last_name(node.func.value)
    opens_file = method == "open" and (PATH_LIKE.search(owner) or any(map(is_file_mode, node.args)))
    if (method in FILE_METHODS or opens_file) and owner not in FILE_DOORS:
        return f"{node.lineno}: .{method}() on {owner or 'an expression'}; files go through the Disk adapter"
    if method in TIMER_METHODS and owner not in TIMER_DOORS:
        return f"{node.lineno}: .{method}() on {owner or 'an expression'}; timers go through the Clock adapter"
    if method == "time" and owner.endswith("loop"):
        return f"{node.lineno}: the loop's clock; time goes through the Clock adapter"
    return None


def world_touches(source: str, *, exempt: frozenset[str] = frozenset()) -> list[str]:
    """Uses of clock, randomness, network or files that do not come in as arguments, calls and references alike."""
    tree = ast.parse(source)
    meaning, unseen = aliases(tree), type_checking_lines(tree)
    complaints = []
    for line, name in imports(tree):
        top, _, rest = name.partition(".")
        measuring = top == "time" and exempt and (not rest or name in exempt)
        if line not in unseen and not measuring and (top in WORLD_MODULES or name in WORLD_NAMES):
            complaints.append(f"{line}: imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (complaint := method_complaint(node, meaning)):
            complaints.append(complaint)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = dotted(node, meaning)
            if name in WORLD_NAMES or (name.startswith("time.") and name not in exempt):
                complaints.append(f"{node.lineno}: uses {name}")
    return complaints


def modules(package: str) -> Iterator[tuple[str, str]]:
    """Path from the root, and source, of each module of a floor."""
    for path in sorted((ROOT / FLOORS[package].folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def gather(package: str, rule: str) -> list[str]:
    """All complaints of one rule over one floor, each with its file."""
    complaints = []
    for path, source in modules(package):
        if rule == "upward":
            found = upward_imports(source, package)
        elif rule == "forbidden":
            found = forbidden_imports(source, package)
        elif path.startswith(ADAPTERS):
            found = []
        else:
            found = world_touches(source, exempt=MEASURING_CLOCKS if package == "idnode_bench" else frozenset())
        complaints += [f"{path}:{complaint}" for complaint in found]
    return complaints


@pytest.mark.parametrize("rule", ["upward", "forbidden", "world"])
@pytest.mark.parametrize("package", FLOORS)
def test_floor(package: str, rule: str) -> None:
    assert gather(package, rule) == []


@pytest.mark.parametrize("package", FLOORS)
def test_each_floor_has_code(package: str) -> None:
    assert any(source.strip() for _, source in modules(package)), "a rule over an empty floor proves nothing"


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("idnode_protocol", "import idnode_registry"),
        ("idnode_protocol", "from idnode import node"),
        ("idnode_registry", "from idnode.adapters.clock import Clock"),
        ("idnode_registry", "if TYPE_CHECKING:\n    from idnode import Node"),
        ("idnode", "import idnode_bench.population as population"),
        ("idnode", "import importlib\nimportlib.import_module('idnode_bench')"),
    ],
)
def test_upward_import_is_found(package: str, source: str) -> None:
    assert upward_imports(source, package)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        *(("idnode_protocol", f"import {name}") for name in sorted(PROTOCOL_FORBIDS)),
        *(("idnode_registry", f"import {name}") for name in sorted(REGISTRY_FORBIDS)),
        ("idnode_protocol", "from os.path import join"),
        ("idnode_protocol", "import cryptography"),
        ("idnode_protocol", "def late():\n    from logging import getLogger"),
        ("idnode_registry", "from asyncio import Event"),
    ],
)
def test_forbidden_import_is_found(package: str, source: str) -> None:
    assert forbidden_imports(source, package)


@pytest.mark.parametrize(
    "source",
    [
        "from __future__ import annotations",
        "import hashlib, struct",
        "from idnode_protocol.octets import Reader",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pathlib import Path",
    ],
)
def test_allowed_import_passes(source: str) -> None:
    assert forbidden_imports(source, "idnode_protocol") == []
    assert upward_imports(source, "idnode_protocol") == []


@pytest.mark.parametrize(
    "source",
    [
        *(f"import {name}" for name in sorted(WORLD_MODULES)),
        "from time import monotonic",
        "import os\nos.urandom(8)",
        "import os as system\nfill = system.getrandom",
        "from os import urandom as dice",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime as d, timezone\nd.now(timezone.utc)",
        "from datetime import date\ndate.today()",
        "from uuid import uuid4",
        "import asyncio\nasync def f():\n    await asyncio.sleep(1)",
        "from asyncio import sleep as nap",
        "import asyncio\ndef f(rest=asyncio.sleep): ...",
        "import asyncio as a\na.wait_for(x, 1)",
        "import asyncio\nasync def f():\n    async with asyncio.timeout(1): ...",
        "loop.call_later(1, f)",
        "import asyncio\nasyncio.get_running_loop().call_at(1, f)",
        "self._loop.time()",
        "open('x')",
        "import io\nio.open('x')",
        "import os\nos.open('x', 0)",
        "path.open()",
        "Path('x').open()",
        "self._data_folder.open()",
        "where.open('rb')",
        "Path('x').read_text()",
        "(folder / 'x').write_text('')",
        "path.read_bytes()",
        "self._path.write_bytes(b'')",
    ],
)
def test_world_touch_is_found(source: str) -> None:
    assert world_touches(source)


@pytest.mark.parametrize(
    "source",
    [
        "clock.time()\nself._clock.call_later(1, f)\nawait_ = clock.sleep",
        "self._disk.open('x')\nself.disk.read_bytes('x')",
        "import lmdb\nlmdb.open('x')",
        "self._challenges.open(caller, now)",
        "from idnode.cli import output\noutput.write_text('x')",
        "from datetime import datetime\ndatetime.fromtimestamp(now, tz=utc)",
        "import asyncio\nasync def f(condition):\n    await condition.wait_for(g)",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket",
    ],
)
def test_injected_world_passes(source: str) -> None:
    assert world_touches(source) == []


def test_bench_may_measure_and_nothing_else() -> None:
    measure = "import time\nbegan = time.perf_counter_ns()"
    assert world_touches(measure)
    assert world_touches(measure, exempt=MEASURING_CLOCKS) == []
    assert world_touches("import time\ntime.time()", exempt=MEASURING_CLOCKS)
    assert world_touches("from time import sleep", exempt=MEASURING_CLOCKS)
    assert world_touches("import socket", exempt=MEASURING_CLOCKS)
