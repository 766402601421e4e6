"""Parsing the subset of Java's regular expressions that templates use, into a tree (docs/protocol.md §9).

Understood: characters and their escapes, ``.``, classes with ranges and ``\\d \\w \\s``, groups that capture and groups
that do not, alternatives, ``* + ?`` and counts, each also lazy, ``^ $ \\A \\z \\Z \\b \\B``, ``\\Q..\\E``. What no
linear matcher can do (back-references, look-around), or templates have not been seen to use, is refused by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from idnode_registry.errors import TemplateRefused
from idnode_registry.templates.characters import LINE_ENDS, SHORTHANDS, CharacterSet, complement, set_of, without_case

EXPRESSION_CHARACTERS_MAX: Final = 1_024
NESTED_GROUPS_MAX: Final = 16
GROUPS_MAX: Final = 32
COUNT_MAX: Final = 1_000
ASSERTIONS: Final[dict[str, str]] = {"A": "start", "z": "end", "Z": "last line end", "b": "border", "B": "no border"}
ESCAPES: Final[dict[str, str]] = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
_COUNT: Final = re.compile(r"\{(\d{1,6})(?:(,)(\d{1,6})?)?\}", re.ASCII)
_HEX: Final = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})")
_REFUSED_GROUPS: Final = (
    ("?=", "look-ahead"),
    ("?!", "look-ahead"),
    ("?<=", "look-behind"),
    ("?<!", "look-behind"),
    ("?>", "an atomic group"),
    ("?<", "a named group"),
    ("?", "a flag inside the expression"),
)
_REFUSED_ESCAPES: Final[dict[str, str]] = {
    **dict.fromkeys("123456789", "a back-reference"),
    "k": "a back-reference",
    "p": "a character property",
    "P": "a character property",
    "0": "an octal escape",
}


@dataclass(frozen=True, slots=True)
class One:
    """One character out of a set."""

    characters: CharacterSet


@dataclass(frozen=True, slots=True)
class Assertion:
    """A condition on the place, see :data:`ASSERTIONS`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The first alternative that leads to a match wins."""

    branches: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Group:
    number: int
    inner: Item


@dataclass(frozen=True, slots=True)
class Repeat:
    """``most`` None = any number."""

    inner: Item
    least: int
    most: int | None
    is_lazy: bool


Item = One | Assertion | Sequence | Choice | Group | Repeat


class PatternRefused(TemplateRefused):
    """The regular expression is wrong, or uses what is not offered; the message says what and where."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The tree, and how many groups capture."""

    tree: Item
    groups: int


class _Parser:
    def __init__(self, text: str, *, fold: bool) -> None:
        self._text, self._fold = text, fold
        self._at = 0
        self._groups = 0

    def refuse(self, what: str) -> PatternRefused:
        return PatternRefused(f"regular expression {self._text[:64]!r}: {what} (at character {self._at + 1})")

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, start: str) -> bool:
        if self._text.startswith(start, self._at):
            self._at += len(start)
            return True
        return False

    def parse(self) -> Pattern:
        tree = self._choice(0)
        if self._next():
            raise self.refuse("a closing parenthesis that nothing opened")
        return Pattern(tree, self._groups)

    def _choice(self, depth: int) -> Item:
        branches = [self._sequence(depth)]
        while self._take("|"):
            branches.append(self._sequence(depth))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self, depth: int) -> Item:
        items: list[Item] = []
        while self._next() not in ("", "|", ")"):
            if self._take("\\Q"):
                quoted, _, _ = self._text[self._at :].partition("\\E")
                self._at += len(quoted)
                self._take("\\E")
                items += [self._one(letter) for letter in quoted]
                if quoted and self._next() in ("*", "+", "?", "{"):
                    items[-1] = self._repeated(items[-1])
                continue
            items.append(self._repeated(self._atom(depth)))
        return Sequence(tuple(items))

    def _one(self, letter: str) -> One:
        return One(self._cased(set_of([(ord(letter), ord(letter))])))

    def _cased(self, characters: CharacterSet) -> CharacterSet:
        return without_case(characters) if self._fold else characters

    def _repeated(self, inner: Item) -> Item:
        if self._next() in ("*", "+", "?", "{"):
            least, most = self._counts()
            is_lazy = self._take("?")
            if not is_lazy and self._take("+"):
                raise self.refuse("a possessive quantifier is not offered")
            inner = Repeat(inner, least, most, is_lazy)
            if self._next() in ("*", "?", "{"):
                raise self.refuse("a quantifier behind a quantifier; use a group")
        return inner

    def _counts(self) -> tuple[int, int | None]:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        found = _COUNT.match(self._text, self._at)
        if found is None:
            raise self.refuse("a brace that is no count; write \\{ for the character")
        self._at = found.end()
        least = int(found[1])
        most = int(found[3]) if found[3] else None if found[2] else least
        if max(least, most or 0) > COUNT_MAX or (most is not None and most < least):
            raise self.refuse(f"a count must rise and be {COUNT_MAX} at most")
        return least, most

    def _atom(self, depth: int) -> Item:
        letter = self._next()
        if letter in ("*", "+", "?", "{"):
            raise self.refuse("a quantifier with nothing before it")
        self._at += 1
        if letter == "(":
            return self._group(depth + 1)
        if letter == "[":
            return One(self._class())
        if letter == ".":
            return One(complement(LINE_ENDS))
        if letter == "^":
            return Assertion("start")
        if letter == "$":
            return Assertion("last line end")
        if letter == "\\":
            name = self._next()
            if name in ASSERTIONS:
                self._at += 1
                return Assertion(ASSERTIONS[name])
            return One(self._escape())
        return self._one(letter)

    def _group(self, depth: int) -> Item:
        if depth > NESTED_GROUPS_MAX:
            raise self.refuse(f"groups nest deeper than {NESTED_GROUPS_MAX}")
        number = 0
        if not self._take("?:"):
            for start, what in _REFUSED_GROUPS:
                if self._text.startswith(start, self._at):
                    raise self.refuse(f"{what} is not offered")
            self._groups = number = self._groups + 1
            if number > GROUPS_MAX:
                raise self.refuse(f"more than {GROUPS_MAX} groups")
        inner = self._choice(depth)
        if not self._take(")"):
            raise self.refuse("a group is not closed")
        return Group(number, inner) if number else inner

    def _escape(self) -> CharacterSet:
        """What stands behind a backslash."""
        letter = self._next()
        if not letter:
            raise self.refuse("a backslash at the end")
        if letter in SHORTHANDS:
            self._at += 1
            return SHORTHANDS[letter]
        if letter in _REFUSED_ESCAPES:
            raise self.refuse(f"{_REFUSED_ESCAPES[letter]} is not offered")
        found = _HEX.match(self._text, self._at)
        if found is not None:
            code = int(found[1] or found[2] or found[3], 16)
            if code > 0x10FFFF:
                raise self.refuse("there is no such character")
            self._at = found.end()
            return self._cased(set_of([(code, code)]))
        if letter.isascii() and letter.isalnum() and letter not in ESCAPES:
            raise self.refuse(f"the escape \\{letter} is not known")
        self._at += 1
        return self._cased(set_of([(ord(ESCAPES.get(letter, letter)),) * 2]))

    def _class(self) -> CharacterSet:
        is_negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        is_first = True
        while not self._take("]") or is_first:
            if self._text[self._at - 1] == "]" and is_first:
                self._at -= 1  # a bracket that comes first is a character
            is_first = False
            low = self._member()
            if len(low) == 2 and low[1] - low[0] == 1 and self._next() == "-" and self._range_follows():
                self._at += 1
                high = self._member()
                if len(high) != 2 or high[1] - high[0] != 1 or high[0] < low[0]:
                    raise self.refuse("a range in a class must rise from one character to another")
                ranges.append((low[0], high[0]))
            else:
                ranges += zip(low[::2], (past - 1 for past in low[1::2]), strict=True)
        characters = self._cased(set_of(ranges))
        return complement(characters) if is_negated else characters

    def _range_follows(self) -> bool:
        return self._text[self._at + 1 : self._at + 2] not in ("", "]")

    def _member(self) -> CharacterSet:
        """One character of a class, or a shorthand; letters in their own case only."""
        letter = self._next()
        if not letter:
            raise self.refuse("a class is not closed")
        if letter == "[":
            raise self.refuse("a class inside a class is not offered; write \\[ for the character")
        if self._text.startswith("&&", self._at):
            raise self.refuse("the intersection of classes is not offered")
        self._at += 1
        if letter != "\\":
            return set_of([(ord(letter), ord(letter))])
        fold, self._fold = self._fold, False
        try:
            return self._escape()
        finally:
            self._fold = fold


def parse(text: str, *, fold: bool) -> Pattern:
    """The tree of an expression; raises :class:`PatternRefused`."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise PatternRefused(f"a regular expression of {len(text)} characters; {EXPRESSION_CHARACTERS_MAX} are allowed")
    return _Parser(text, fold=fold).parse()
