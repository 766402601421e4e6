"""Exit codes, and the one place where errors become a line for people (docs/errors.md)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final, NoReturn

import typer

from idnode.adapters.errors import AdapterError
from idnode.client.errors import ClientError, ConfigUnusable, NoAnswer, Refused
from idnode_protocol.codes import ResponseCode
from idnode_protocol.errors import ProtocolError
from idnode_registry.errors import RangeRefused, RegistryError


class Exit(IntEnum):
    """What a script can rely on."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_ALLOWED = 4
    STORE = 5
    LISTEN = 6


_NOT_ALLOWED: Final = frozenset(
    {
        ResponseCode.INVALID_ADMIN,
        ResponseCode.INSUFFICIENT_PERMISSION,
        ResponseCode.AUTHENTICATION_FAILED,
        ResponseCode.INVALID_CREDENTIAL,
        ResponseCode.AUTHENTICATION_ERROR,
    }
)


HINTS: Final[dict[int, str]] = {
    ResponseCode.HANDLE_NOT_FOUND: "check the spelling, or create it",
    ResponseCode.HANDLE_ALREADY_EXISTS: "change it with `idnode update`, or give --overwrite to replace it",
    ResponseCode.VALUES_NOT_FOUND: "it has no value of that index or type that you may see",
    ResponseCode.VALUE_ALREADY_EXISTS: "leave --add away to replace the value, or take a free index",
}
"""What to do about a refusal; added where the server gave no reason, and where it cannot know what was typed."""
ALWAYS_HINTED: Final = frozenset({ResponseCode.VALUE_ALREADY_EXISTS})


def text_of(wrong: Exception) -> str:
    """What went wrong, and what to do about it, in one line."""
    if isinstance(wrong, Refused):
        hint = HINTS.get(wrong.code)
        return f"{wrong}; {hint}" if hint and (not wrong.text or wrong.code in ALWAYS_HINTED) else str(wrong)
    if isinstance(wrong, ValueError):
        return _settings_text(wrong)
    if isinstance(wrong, OSError) and wrong.filename is not None:
        return f"{wrong.filename}: {wrong.strerror}"
    return str(wrong)


def _settings_text(wrong: ValueError) -> str:
    """Problems of settings, a line each. Loaded here: commands that need no settings start sooner without."""
    from pydantic import ValidationError

    from idnode.settings import SettingsWrong

    if isinstance(wrong, SettingsWrong):
        return "\nidnode: ".join(wrong.problems)
    if isinstance(wrong, ValidationError):
        first = wrong.errors()[0]
        return f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(wrong)


def exit_of(wrong: Exception) -> Exit:
    """The exit code of an error."""
    if isinstance(wrong, Refused):
        return Exit.NOT_ALLOWED if wrong.code in _NOT_ALLOWED else Exit.REFUSED
    table: tuple[tuple[type[Exception], Exit], ...] = (
        (NoAnswer, Exit.UNREACHABLE),
        (ConfigUnusable, Exit.STORE),
        (ClientError, Exit.REFUSED),
        (RangeRefused, Exit.USAGE),
        (RegistryError, Exit.STORE),
        (AdapterError, Exit.LISTEN),
    )
    return next((code for kind, code in table if isinstance(wrong, kind)), Exit.USAGE)


def fail(text: str, code: Exit) -> NoReturn:
    """One line on standard error, then the end."""
    print(f"idnode: {text}", file=sys.stderr)
    raise typer.Exit(int(code))


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Turn every expected error into a line and an exit code."""
    try:
        yield
    except (ClientError, RegistryError, AdapterError, ProtocolError, OSError, ValueError) as wrong:
        fail(text_of(wrong), exit_of(wrong))


def show(value: object, text: str, *, as_json: bool) -> None:
    """Print a result: for people, or as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=1) if as_json else text)
