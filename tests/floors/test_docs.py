"""The documentation says what the code does: settings, commands, exit codes. ``WRITE_DOCS=1`` writes it anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from idnode.cli.exits import Exit
from idnode.cli.main import app
from idnode.settings import SETTINGS, Setting

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs" / "configuration.md"
GENERATED_FROM = "This part is printed by `idnode config reference`; a test compares them.\n\n"


def reference() -> str:
    result = CliRunner().invoke(app, ["config", "reference"])
    assert result.exit_code == 0
    return result.stdout


def undescribed(settings: dict[str, Setting]) -> list[str]:
    """Settings without a description, or with one that is a sentence of its own (they stand in a table)."""
    return [name for name, each in settings.items() if not each.description or each.description.endswith(".")]


def exit_codes(page: str) -> set[int]:
    """The codes in the first table of docs/errors.md."""
    table = page.partition("## Exit codes")[2].partition("\n## ")[0]
    return {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}


def silent_commands() -> list[str]:
    """Commands, and options of commands, without a help text."""
    root = get_command(app)
    found = []
    for name, command in getattr(root, "commands", {}).items():
        inner = getattr(command, "commands", {"": command})
        for below, each in inner.items():
            full = f"{name} {below}".strip()
            found += [full] if not each.help else []
            options = (p for p in each.params if p.param_type_name == "option" and p.name != "help")
            found += [f"{full} {p.opts[0]}" for p in options if not p.help]
    return found


def test_the_reference_of_settings_is_what_the_code_says() -> None:
    head, start, written = CONFIGURATION.read_text("utf-8").partition(GENERATED_FROM)
    assert start, "docs/configuration.md lost the line that begins its generated part"
    if os.environ.get("WRITE_DOCS"):
        CONFIGURATION.write_text(head + start + reference(), "utf-8")
    else:
        assert written == reference(), "docs/configuration.md is stale: WRITE_DOCS=1 pytest tests/floors/test_docs.py"


def test_every_setting_is_described() -> None:
    assert undescribed(SETTINGS) == []


def test_a_setting_without_a_description_is_found() -> None:
    from pydantic.fields import FieldInfo

    silent = Setting("store.x", FieldInfo(annotation=int, default=1))
    assert undescribed({"store.x": silent}) == ["store.x"]


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert exit_codes(page) == {int(code) for code in Exit}
    assert exit_codes(page.replace("| 6 |", "| six |")) != {int(code) for code in Exit}


def test_every_command_and_option_has_a_help_text() -> None:
    assert silent_commands() == []


@pytest.mark.parametrize("command", ["serve", "config show"])
def test_the_page_names_the_commands_that_read_settings(command: str) -> None:
    assert f"idnode {command}" in CONFIGURATION.read_text("utf-8")
