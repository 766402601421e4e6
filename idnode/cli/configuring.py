"""``config``: which settings there are, what they are now, and where that comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from idnode.adapters import real_adapters
from idnode.cli.exits import errors_as_lines, show
from idnode.cli.settings_options import ConfigFile, Settings, command_variables, load_settings
from idnode.settings import NONE, SECTIONS, SETTINGS, Loaded, Setting

config = typer.Typer(help="Show settings and where they come from.", no_args_is_help=True)


def as_text(value: Any) -> str:
    """A value as --set and the environment take it."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _row(setting: Setting, loaded: Loaded) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": _plain(loaded.value(setting.name)),
        "origin": loaded.origin(setting.name),
        "default": _plain(setting.default),
        "env": setting.env,
        "expected": setting.expected,
        "description": setting.description,
    }


@config.command("show")
def config_show(
    file: ConfigFile = None,
    pairs: Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every setting, its value and its origin: default, file, environment or flag."""
    with errors_as_lines():
        adapters = real_adapters()
        loaded = load_settings(adapters, file, pairs)
        adapters.close()
        cells = [(each.name, as_text(loaded.value(each.name)), loaded.origin(each.name)) for each in SETTINGS.values()]
        widths = [max(len(row[column]) for row in cells) for column in (0, 1)]
        text = "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for name, value, origin in cells)
        show({"settings": [_row(each, loaded) for each in SETTINGS.values()]}, text, as_json=as_json)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _code(text: str) -> str:
    return f"`{text}`" if text else "(none given)"


def _section(name: str) -> list[str]:
    """The settings of one section, the empty name standing for those outside of any, as Markdown."""
    title = f"[{name}]" if name else "outside of any section"
    about = (SECTIONS[name].__doc__ or "").strip() if name else "They stand above the first section."
    rows = [
        (
            f"`{each.name.rpartition('.')[2]}`",
            each.expected,
            f"`{as_text(each.default)}`",
            f"`{each.env}`",
            each.description,
        )
        for each in SETTINGS.values()
        if each.name.rpartition(".")[0] == name
    ]
    return [f"### {title}", "", about, "", *_table(("key", "value", "default", "environment", "meaning"), rows), ""]


@config.command("reference")
def config_reference() -> None:
    """Print the reference of all settings as Markdown: the second half of docs/configuration.md."""
    lines = [line for name in ("", *SECTIONS) for line in _section(name)]
    variables = [(f"`{name}`", text) for name, text in command_variables().items()]
    lines += ["### Variables of commands", "", "These are options, not settings.", ""]
    lines += _table(("environment", "meaning"), variables)
    print("\n".join(lines))
