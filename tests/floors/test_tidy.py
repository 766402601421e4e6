"""Checks of what no compiler asks for: sizes, leftovers, machine paths, swallowed errors, dead modules, READMEs.

Each check is a function from a path and a text (or from a set of paths) to complaints, and is shown a bad sample. The
bad samples are cut in two until they are used, so that this file passes its own checks.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 500
LINE_CHARACTERS_MAX = 120
PACKAGES = {
    "idnode_protocol": "protocol/idnode_protocol",
    "idnode_registry": "registry/idnode_registry",
    "idnode": "idnode",
    "idnode_bench": "bench/idnode_bench",
}
CODE = frozenset({".c", ".h", ".java", ".py", ".sh"})
TEXT = CODE | frozenset({"", ".cfg", ".html", ".ini", ".md", ".patch", ".toml", ".txt", ".xml", ".yaml", ".yml"})
FOREIGN = frozenset({"LICENSE"})

MARKS = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|\braise NotImplementedErro[r]\b|\bpass\s*#\s*stu[b]")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|tmp|root)/")
OUTSIDE_PATH = re.compile(r"(?<![\w-])share[d]/")
SKIPPED = re.compile(r"(?:pytest|mark|unittest)\.(?:skip|xfail)|importorski[p]")
BROAD = frozenset({"", "BaseException", "Exception"})

CUT = "¦"
"""Divides what a bad sample must not show before it is used."""

Check = Callable[[str, str], list[str]]


def python(text: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(text)


def numbered(pattern: re.Pattern[str], text: str, what: str) -> list[str]:
    """One complaint for each line that matches."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{number}: {what}: {match[0]!r}" for number, line in lines if (match := pattern.search(line))]


def long_functions(path: str, text: str) -> list[str]:
    complaints = []
    for node in ast.walk(python(text)) if path.endswith(".py") else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES_MAX:
                complaints.append(f"{node.lineno}: {node.name} has {size} lines, {FUNCTION_LINES_MAX} are enough")
    return complaints


def long_modules(path: str, text: str) -> list[str]:
    size = len(text.splitlines())
    too_long = PurePosixPath(path).suffix in CODE and size > MODULE_LINES_MAX
    return [f"{size}: lines in one module, {MODULE_LINES_MAX} are enough"] if too_long else []


def long_lines(path: str, text: str) -> list[str]:
    if PurePosixPath(path).suffix not in CODE:
        return []
    return [
        f"{number}: {len(line)} characters in a line"
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > LINE_CHARACTERS_MAX
    ]


def leftover_marks(_path: str, text: str) -> list[str]:
    return numbered(MARKS, text, "unfinished")


def machine_paths(_path: str, text: str) -> list[str]:
    return numbered(MACHINE_PATH, text, "a path of one machine")


def outside_paths(_path: str, text: str) -> list[str]:
    return numbered(OUTSIDE_PATH, text, "a path outside the repository")


def skipped_tests(path: str, text: str) -> list[str]:
    return numbered(SKIPPED, text, "a test that does not run") if path.startswith("tests/") else []


def does_nothing(statement: ast.stmt) -> bool:
    """Whether a statement handles nothing: ``pass``, ``continue``, ``...``, ``return None`` or another constant."""
    match statement:
        case ast.Pass() | ast.Continue() | ast.Break() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Return(value=None | ast.Constant()):
            return True
    return False


def swallowed_errors(path: str, text: str) -> list[str]:
    """Handlers that catch everything and do nothing about it."""
    complaints = []
    for node in ast.walk(python(text)) if path.endswith(".py") else ():
        match node:
            case ast.ExceptHandler(type=kind, body=body):
                caught = kind.elts if isinstance(kind, ast.Tuple) else [kind]
                names = {ast.unparse(one) if one is not None else "" for one in caught}
                if names & BROAD and all(map(does_nothing, body)):
                    complaints.append(f"{node.lineno}: swallows every error")
            case ast.Call(func=function, args=args) if ast.unparse(function).endswith("suppress"):
                if {ast.unparse(one) for one in args} & BROAD:
                    complaints.append(f"{node.lineno}: suppresses every error")
    return complaints


def untitled_pages(path: str, text: str) -> list[str]:
    """A page starts with its only title of the first rank; fenced code does not count."""
    if not path.endswith(".md"):
        return []
    prose = re.sub(r"(?ms)^( *)(```|~~~).*?^\1\2", "", text)
    titles = [line for line in prose.splitlines() if line.startswith("# ")]
    return [] if len(titles) == 1 and text.startswith("# ") else ["1: a page starts with its one title"]


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        long_functions, long_modules, long_lines, leftover_marks, machine_paths, outside_paths,
        skipped_tests, swallowed_errors, untitled_pages,
    )
}  # fmt: skip


def folders_without_readme(paths: Iterable[str], read: Callable[[str], str]) -> list[str]:
    """Folders of Python that neither have a README nor are named (as ``folder/``) in the nearest one above."""
    paths = list(paths)
    readmes = {str(PurePosixPath(path).parent) for path in paths if PurePosixPath(path).name == "README.md"}
    complaints = []
    for folder in sorted({PurePosixPath(path).parent for path in paths if path.endswith(".py")}):
        above = next((str(up) for up in (folder, *folder.parents) if str(up) in readmes), None)
        if above == str(folder):
            continue
        if above is None or f"{folder.name}/" not in read(str(PurePosixPath(above, "README.md"))):
            complaints.append(f"{folder}/: no README.md, and the one in {above} does not name {folder.name}/")
    return complaints


def module_names(paths: Iterable[str]) -> dict[str, str]:
    """Dotted name of each module of ours, with its path."""
    names = {}
    for path in paths:
        for package, folder in PACKAGES.items():
            if path.startswith(f"{folder}/") and path.endswith(".py"):
                inner = path.removeprefix(f"{folder}/").removesuffix(".py").replace("/", ".")
                names[f"{package}.{inner}".removesuffix(".__init__")] = path
    return names


def mentioned(text: str, module: str) -> Iterator[str]:
    """Dotted names a module imports or, for lazy tables and entry points, holds as a string."""
    for node in ast.walk(python(text)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                base = origin or ""
                if level:
                    base = ".".join(filter(None, [module.rsplit(".", level)[0], origin]))
                yield base
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Constant(value=str(value)):
                yield value.partition(":")[0]


def dead_modules(sources: dict[str, str], entry_points: Iterable[str]) -> list[str]:
    """Modules of ours that nothing imports, not even a test, and that are no entry point."""
    names = module_names(sources)
    alive = {entry.partition(":")[0] for entry in entry_points}
    for path, text in sources.items():
        own = next((name for name, where in names.items() if where == path), "")
        # Relative imports of a package's __init__ count from the package itself.
        base = f"{own}.__init__" if path.endswith("__init__.py") else own
        alive |= {name for name in mentioned(text, base) if name != own}
    spared = ("__init__.py", "__main__.py")
    dead = {name: path for name, path in names.items() if name not in alive and not path.endswith(spared)}
    return [f"{path}: nothing imports {name}" for name, path in dead.items()]


def misplaced_tests(paths: Iterable[str]) -> list[str]:
    """Packages among the tests, and test files that share a name: either confuses pytest's importlib mode."""
    files = [PurePosixPath(path) for path in paths if path.startswith("tests/") and path.endswith(".py")]
    names = [file.name for file in files if file.name.startswith("test_")]
    complaints = [f"{file}: tests are no packages" for file in files if file.name == "__init__.py"]
    return complaints + [f"{name}: two test files of this name" for name in sorted(set(names)) if names.count(name) > 1]


@cache
def committed() -> dict[str, str]:
    """Path and text of every text file that is, or is about to be, in version control."""
    # The checkout may belong to another user (a container's), which git refuses unless told.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    wanted = (path for path in listing.split("\0") if PurePosixPath(path).suffix in TEXT and path not in FOREIGN)
    files = {path: (ROOT / path).read_bytes() for path in wanted if path and (ROOT / path).is_file()}
    return {path: octets.decode() for path, octets in files.items() if b"\0" not in octets}


def python_sources() -> dict[str, str]:
    return {path: text for path, text in committed().items() if path.endswith(".py")}


@pytest.mark.parametrize("name", CHECKS)
def test_tree_is_tidy(name: str) -> None:
    assert [f"{path}:{line}" for path, text in committed().items() for line in CHECKS[name](path, text)] == []


def test_the_tree_was_read() -> None:
    assert len(python_sources()) > 20
    assert {"Makefile", "README.md", "pyproject.toml", ".ci/run"} <= committed().keys()


def test_every_folder_is_explained() -> None:
    assert folders_without_readme(committed(), committed().__getitem__) == []


def test_no_dead_modules() -> None:
    project = tomllib.loads(committed()["pyproject.toml"])["project"]
    entries = [*project["scripts"].values()]
    entries += [entry for group in project.get("entry-points", {}).values() for entry in group.values()]
    assert dead_modules(python_sources(), entries) == []


def test_tests_are_well_placed() -> None:
    assert misplaced_tests(committed()) == []


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (long_functions, "a.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
        (long_functions, "a.py", "class C:\n  async def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
        (long_modules, "a.py", "x = 1\n" * (MODULE_LINES_MAX + 1)),
        (long_modules, "A.java", "\n" * (MODULE_LINES_MAX + 1)),
        (long_lines, "a.sh", "#" * (LINE_CHARACTERS_MAX + 1)),
        (leftover_marks, "a.md", "x TO¦DO y"),
        (leftover_marks, "a.sh", "# FIX¦ME"),
        (leftover_marks, "a.c", "/* XX¦X */"),
        (leftover_marks, "a.py", "# HA¦CK: for now"),
        (leftover_marks, "a.py", "raise NotImplemented¦Error"),
        (leftover_marks, "a.py", "pass  # st¦ub"),
        (machine_paths, "a.py", "folder = '/wo¦rk/x'"),
        (machine_paths, "a.md", "see /tm¦p/x"),
        (machine_paths, "a.md", "see /ro¦ot/x"),
        (outside_paths, "a.md", "see ../sha¦red/design"),
        (outside_paths, "a.md", "in `sha¦red/design`"),
        (skipped_tests, "tests/a.py", "@pytest.mark¦.skip"),
        (skipped_tests, "tests/a.py", "@pytest.mark¦.xfail(reason='x')"),
        (skipped_tests, "tests/a.py", "pytest¦.skip('no java')"),
        (skipped_tests, "tests/a.py", "pytest.importor¦skip('x')"),
        (swallowed_errors, "a.py", "try:\n  f()\nexcept Exception:\n  pass"),
        (swallowed_errors, "a.py", "try:\n  f()\nexcept:\n  ..."),
        (swallowed_errors, "a.py", "try:\n  f()\nexcept (OSError, BaseException) as error:\n  'why not'"),
        (swallowed_errors, "a.py", "def f():\n  try:\n    g()\n  except Exception:\n    return None"),
        (swallowed_errors, "a.py", "with contextlib.suppress(Exception):\n  f()"),
        (untitled_pages, "a.md", "text first\n\n# Title\n"),
        (untitled_pages, "a.md", "# One\n\n# Two\n"),
        (untitled_pages, "a.md", "## Second rank\n"),
    ],
)
def test_bad_sample_is_found(check: Check, path: str, text: str) -> None:
    assert check(path, text.replace(CUT, ""))


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (long_functions, "a.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES_MAX - 1)),
        (leftover_marks, "a.py", "mastodon = HA¦CKNEY"),
        (leftover_marks, "a.py", "except NotImplementedError:  # an event loop without add_reader"),
        (machine_paths, "a.md", "https://example.org/work/x and docs/tmp/x"),
        (swallowed_errors, "a.py", "try:\n  f()\nexcept Exception as error:\n  report(error)"),
        (swallowed_errors, "a.py", "try:\n  f()\nexcept FileNotFoundError:\n  pass"),
        (untitled_pages, "a.md", "# One\n\n```sh\n# a comment\n```\n"),
    ],
)
def test_good_sample_passes(check: Check, path: str, text: str) -> None:
    assert check(path, text.replace(CUT, "")) == []


def test_unexplained_folder_is_found() -> None:
    tree = {"a/README.md": "# A\n\n`named/` is here", "a/named/x.py": "", "a/silent/x.py": "", "b/x.py": ""}
    found = folders_without_readme(tree, tree.__getitem__)
    assert [line.partition(":")[0] for line in found] == ["a/silent/", "b/"]


def test_dead_module_is_found() -> None:
    tree = {
        "idnode/__init__.py": "HOMES = {'x': 'idnode.lazy'}\nfrom . import near",
        "idnode/lazy.py": "from idnode_protocol.octets import Reader",
        "idnode/near.py": "from idnode import other",
        "idnode/other.py": "",
        "idnode/main.py": "",
        "idnode/dead.py": "import idnode.dead",
        "protocol/idnode_protocol/octets.py": "",
        "tests/test_x.py": "import idnode.tested",
        "idnode/tested.py": "",
    }
    assert dead_modules(tree, ["idnode.main:main"]) == ["idnode/dead.py: nothing imports idnode.dead"]


def test_misplaced_test_is_found() -> None:
    assert misplaced_tests(["tests/a/__init__.py"])
    assert misplaced_tests(["tests/a/test_x.py", "tests/b/test_x.py"])
    assert misplaced_tests(["tests/a/test_x.py", "tests/b/test_y.py", "tests/b/conftest.py", "tests/conftest.py"]) == []
