"""Variables in the texts of templates: ``${name}``, ``${name[n]}``, ``$n``, ``\\c`` (docs/protocol.md §9)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from idnode_registry.errors import TemplateTooCostly
from idnode_registry.templates.budget import PLACE_STEPS, Budget

TEXT_CHARACTERS_MAX: Final = 256 * 1024
"""No message carries more."""
NUMBERED: Final = "extension"
"""The variable whose groups ``$n`` and ``${n}`` are."""
Groups = tuple[str | None, ...]
"""A variable: group 0 is the whole text, the others are those of a match."""
_PLACE: Final = re.compile(
    r"\\(?P<letter>.)|\$(?P<digits>[0-9]{1,4})|\$\{(?P<number>[0-9]{1,4})\}"
    r"|\$\{(?P<name>[^\[\]{}]{1,64})(?:\[(?P<group>[0-9]{1,4})\])?\}",
    re.DOTALL,
)
"""Bounded repetitions of disjoint classes: linear in the text. What does not fit, such as a lone $, stays as it is."""


def substitute(text: str, variables: Mapping[str, Groups], budget: Budget) -> str:
    """The text with its variables put in; unknown ones and groups give nothing. Raises TemplateTooCostly."""
    budget.spend_text(len(text))
    if "$" not in text and "\\" not in text:
        return text
    parts: list[str] = []
    size = at = 0
    for found in _PLACE.finditer(text):
        budget.spend(PLACE_STEPS)
        put = _value_of(found, variables)
        size += len(put) + found.start() - at
        if size > TEXT_CHARACTERS_MAX:
            raise TemplateTooCostly(f"the template makes a text of more than {TEXT_CHARACTERS_MAX} characters")
        budget.spend_text(len(put))
        parts += (text[at : found.start()], put)
        at = found.end()
    return "".join((*parts, text[at:]))


def _value_of(found: re.Match[str], variables: Mapping[str, Groups]) -> str:
    if found["letter"] is not None:
        return found["letter"]
    digits = found["digits"] or found["number"]
    name, group = (NUMBERED, digits) if digits else (found["name"], found["group"] or "0")
    groups, number = variables.get(name, ()), int(group)
    return (groups[number] or "") if number < len(groups) else ""
