"""Matching a whole text in time linear in its length (after Thompson and Pike).

The tree becomes a program; all ways through it advance together, one character at a time, in the order in which Java
would try them. Each instruction is entered at most once per character, so no expression can blow up; the way that
arrives first in order is the one Java finds, with the same groups.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from idnode_registry.templates.budget import Budget
from idnode_registry.templates.characters import LINE_ENDS, WORD, CharacterSet, contains
from idnode_registry.templates.pattern import (
    Assertion,
    Choice,
    Group,
    Item,
    One,
    PatternRefused,
    Repeat,
    Sequence,
    parse,
)

INSTRUCTIONS_MAX: Final = 1_000
COMPILE_STEPS_MAX: Final = 2_000
"""Counts of counts of nothing make no instruction, and would still take for ever."""
EXPRESSIONS_KEPT_MAX: Final = 256


class Eat(NamedTuple):
    """Take one character of a set."""

    characters: CharacterSet


class Split(NamedTuple):
    """Go on at both places, rather at the first."""

    first: int
    second: int


class Jump(NamedTuple):
    to: int


class Save(NamedTuple):
    """Remember the place in a slot: 2n where group n begins, 2n + 1 where it ends."""

    slot: int


class Check(NamedTuple):
    """Go on only where the assertion holds."""

    kind: str


class Accept(NamedTuple):
    """The end of the expression."""


Instruction = Eat | Split | Jump | Save | Check | Accept
Slots = tuple[int, ...]


class _Compiler:
    def __init__(self, text: str) -> None:
        self._text = text
        self._steps = 0
        self.program: list[Instruction] = []

    def _refuse(self) -> PatternRefused:
        return PatternRefused(
            f"regular expression {self._text[:64]!r}: with its counts written out it is longer than {INSTRUCTIONS_MAX}"
            " instructions; use smaller counts"
        )

    def _put(self, instruction: Instruction) -> int:
        if len(self.program) >= INSTRUCTIONS_MAX:
            raise self._refuse()
        self.program.append(instruction)
        return len(self.program) - 1

    def put(self, item: Item) -> None:
        self._steps += 1
        if self._steps > COMPILE_STEPS_MAX:
            raise self._refuse()
        match item:
            case One(characters):
                self._put(Eat(characters))
            case Assertion(kind):
                self._put(Check(kind))
            case Sequence(items):
                for inner in items:
                    self.put(inner)
            case Group(number, inner):
                self._put(Save(2 * number))
                self.put(inner)
                self._put(Save(2 * number + 1))
            case Choice(branches):
                self._choice(branches)
            case Repeat():
                self._repeat(item)

    def accept(self) -> None:
        self._put(Accept())

    def _choice(self, branches: tuple[Item, ...]) -> None:
        ends = []
        for branch in branches[:-1]:
            split = self._put(Jump(0))
            self.put(branch)
            ends.append(self._put(Jump(0)))
            self.program[split] = Split(split + 1, len(self.program))
        self.put(branches[-1])
        for end in ends:
            self.program[end] = Jump(len(self.program))

    def _fork(self, at: int, inside: int, outside: int, *, is_lazy: bool) -> None:
        self.program[at] = Split(outside, inside) if is_lazy else Split(inside, outside)

    def _repeat(self, item: Repeat) -> None:
        for _ in range(item.least):
            self.put(item.inner)
        if item.most is None:
            start = self._put(Jump(0))
            self.put(item.inner)
            self._put(Jump(start))
            self._fork(start, start + 1, len(self.program), is_lazy=item.is_lazy)
            return
        forks = []
        for _ in range(item.most - item.least):
            forks.append(self._put(Jump(0)))
            self.put(item.inner)
        for fork in forks:
            self._fork(fork, fork + 1, len(self.program), is_lazy=item.is_lazy)


def _holds(kind: str, text: str, at: int) -> bool:
    if kind == "start":
        return at == 0
    if kind == "end":
        return at == len(text)
    if kind == "last line end":
        rest = text[at:]
        is_between = rest == "\n" and text[at - 1 : at] == "\r"
        return not rest or rest == "\r\n" or (len(rest) == 1 and contains(LINE_ENDS, ord(rest)) and not is_between)
    before = at > 0 and contains(WORD, ord(text[at - 1]))
    after = at < len(text) and contains(WORD, ord(text[at]))
    return (before != after) == (kind == "border")


class Regex:
    """A compiled expression."""

    __slots__ = ("_program", "groups")

    def __init__(self, program: list[Instruction], groups: int) -> None:
        self._program = program
        self.groups = groups

    def __len__(self) -> int:
        """How many instructions; a step each, at most, for each character."""
        return len(self._program)

    def fullmatch(self, text: str, budget: Budget) -> tuple[str | None, ...] | None:
        """The groups, group 0 the whole text, None for one that took no part; None when the text does not match.

        Raises :class:`TemplateTooCostly`.
        """
        program = self._program
        ways = self._follow([(0, (-1,) * (2 * self.groups + 2))], text, 0, budget)
        for at, letter in enumerate(text):
            code_point, onward = ord(letter), []
            for place, slots in ways:
                instruction = program[place]
                if isinstance(instruction, Eat) and contains(instruction.characters, code_point):
                    onward.append((place + 1, slots))
            if not onward:
                return None
            ways = self._follow(onward, text, at + 1, budget)
        for place, slots in ways:
            if isinstance(program[place], Accept):
                pairs = zip(slots[2::2], slots[3::2], strict=True)
                return (text, *(text[first:last] if first >= 0 <= last else None for first, last in pairs))
        return None

    def _follow(self, starts: list[tuple[int, Slots]], text: str, at: int, budget: Budget) -> list[tuple[int, Slots]]:
        """Every instruction that eats or accepts, reached from ``starts`` without eating, in order of preference."""
        program, seen, reached = self._program, set[int](), list[tuple[int, Slots]]()
        waiting = starts[::-1]
        while waiting:
            place, slots = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            instruction = program[place]
            if isinstance(instruction, Eat | Accept):
                reached.append((place, slots))
            elif isinstance(instruction, Jump):
                waiting.append((instruction.to, slots))
            elif isinstance(instruction, Split):
                waiting += ((instruction.second, slots), (instruction.first, slots))
            elif isinstance(instruction, Save):
                slot = instruction.slot
                waiting.append((place + 1, (*slots[:slot], at, *slots[slot + 1 :])))
            elif _holds(instruction.kind, text, at):
                waiting.append((place + 1, slots))
        budget.spend(1 + len(seen))
        return reached


@lru_cache(maxsize=EXPRESSIONS_KEPT_MAX)
def compile_regex(text: str, *, fold: bool) -> Regex:
    """The program of an expression, ASCII letters without case when ``fold``; raises :class:`PatternRefused`."""
    pattern = parse(text, fold=fold)
    compiler = _Compiler(text)
    compiler.put(pattern.tree)
    compiler.accept()
    return Regex(compiler.program, pattern.groups)
