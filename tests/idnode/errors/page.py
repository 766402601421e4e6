"""From what was said to the table of docs/errors.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.idnode.errors.desk import Said

HEAD = (
    "| what is done, or wrong | code | HTTP | exit | message |",
    "|---|---|---|---|---|",
)
NONE = "–"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one row gave, by its ways."""

    what: str
    native: Said | None
    rest: Said | None
    command: Said | None

    @property
    def code(self) -> int | None:
        """The response code: as the native protocol gave it, else as the body of the HTTP answer did."""
        if self.native is not None:
            return self.native.number
        return self.rest.code or None if self.rest is not None else None


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _messages(outcome: Outcome, tidy: Callable[[str], str]) -> str:
    """What is said, each thing once; REST and the command line repeat what the node says and may add to it."""
    native = tidy(outcome.native.message) if outcome.native is not None else ""
    parts = [native] if native else []
    if outcome.rest is not None and outcome.rest.message and outcome.rest.message != native:
        parts.append(f"HTTP: {tidy(outcome.rest.message)}")
    if outcome.command is not None and outcome.command.message:
        said = tidy(outcome.command.message).replace("`", "'")
        parts.append(f"`{said}`")
    return "<br>".join(parts) or NONE


def table(outcomes: Iterable[Outcome], tidy: Callable[[str], str]) -> list[str]:
    """The lines of the table."""
    lines = list(HEAD)
    for each in outcomes:
        code = NONE if each.code is None else str(int(each.code))
        status = NONE if each.rest is None else str(each.rest.number)
        exit_code = NONE if each.command is None else str(each.command.number)
        cells = (each.what, code, status, exit_code, _messages(each, tidy))
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return lines
