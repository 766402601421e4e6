"""Sets of characters, as sorted boundaries: inside from each even one up to the next odd one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

CODE_POINTS: Final = 0x110000
Range = tuple[int, int]
"""First and last code point."""
CharacterSet = tuple[int, ...]


def contains(characters: CharacterSet, code_point: int) -> bool:
    return bool(bisect_right(characters, code_point) & 1)


def set_of(ranges: Iterable[Range]) -> CharacterSet:
    """The set of all ranges; they may overlap."""
    bounds: list[int] = []
    for first, last in sorted(ranges):
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], last + 1)
        else:
            bounds += [first, last + 1]
    return tuple(bounds)


def ranges_of(characters: CharacterSet) -> list[Range]:
    return [(first, past - 1) for first, past in zip(characters[::2], characters[1::2], strict=True)]


def complement(characters: CharacterSet) -> CharacterSet:
    """Every other code point."""
    bounds = characters[1:] if characters[:1] == (0,) else (0, *characters)
    return bounds[:-1] if bounds[-1:] == (CODE_POINTS,) else (*bounds, CODE_POINTS)


def without_case(characters: CharacterSet) -> CharacterSet:
    """With the other case of each ASCII letter in it, as names are folded; nothing beyond ASCII changes."""
    ranges = ranges_of(characters)
    for first, last in tuple(ranges):
        for low, high, step in ((0x41, 0x5A, 0x20), (0x61, 0x7A, -0x20)):
            if first <= high and last >= low:
                ranges.append((max(first, low) + step, min(last, high) + step))
    return set_of(ranges)


DIGITS: Final = set_of([(0x30, 0x39)])
WORD: Final = set_of([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
SPACE: Final = set_of([(0x09, 0x0D), (0x20, 0x20)])
LINE_ENDS: Final = set_of([(0x0A, 0x0A), (0x0D, 0x0D), (0x85, 0x85), (0x2028, 0x2029)])
SHORTHANDS: Final[dict[str, CharacterSet]] = {
    "d": DIGITS,
    "D": complement(DIGITS),
    "w": WORD,
    "W": complement(WORD),
    "s": SPACE,
    "S": complement(SPACE),
}
"""The letters behind a backslash; ASCII only, as in Java without flags."""
