"""The linear matcher: Python's ``re`` is the oracle on what both understand; hostile expressions end in time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idnode_registry.errors import TemplateTooCostly
from idnode_registry.templates.budget import STEPS_MAX, Budget
from idnode_registry.templates.characters import complement, contains, set_of, without_case
from idnode_registry.templates.pattern import PatternRefused
from idnode_registry.templates.regex import INSTRUCTIONS_MAX, compile_regex

GENEROUS = 10_000_000
LETTERS = "aAbBk0_-"


def groups(expression: str, text: str, *, fold: bool = True, steps: int = GENEROUS) -> tuple[str | None, ...] | None:
    return compile_regex(expression, fold=fold).fullmatch(text, Budget(steps))


atoms = st.sampled_from(
    [
        "a",
        "B",
        "k",
        "0",
        "_",
        ".",
        r"\d",
        r"\W",
        r"\s",
        "[ab]",
        "[^a]",
        "[a-k0-]",
        r"[\w-]",
        "[]a]",
        r"\.",
        r"\x61",
        "-",
    ]
)
quantifiers = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{1,2}?", "{0}"])


def consuming(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A letter first, so that no repeated group can be empty: there the engines remember different rounds."""
    bodies = st.lists(inner, min_size=1, max_size=3).map(lambda parts: "a" + "".join(parts))
    branches = st.lists(bodies, min_size=1, max_size=3).map("|".join)
    return st.tuples(st.sampled_from(["(", "(?:"]), branches, quantifiers).map(lambda t: f"{t[0]}{t[1]}){t[2]}")


pieces = st.recursive(st.tuples(atoms, quantifiers).map("".join), consuming, max_leaves=6)
expressions = st.lists(pieces, min_size=1, max_size=3).map("".join) | st.lists(pieces, min_size=2, max_size=3).map(
    "|".join
)
texts = st.text(LETTERS, max_size=12)


@given(expressions, texts, st.booleans())
@settings(max_examples=400)
def test_it_agrees_with_python(expression: str, text: str, fold: bool) -> None:
    oracle = re.compile(expression, re.ASCII | (re.IGNORECASE if fold else 0)).fullmatch(text)
    found = groups(expression, text, fold=fold)
    assert (found is None) == (oracle is None)
    if found is not None and oracle is not None and "{0}" not in expression:
        assert found == (oracle.group(0), *oracle.groups())


@given(st.text(LETTERS + "()|*+?{}[]^$\\.,:Qd=!<>&pE2", max_size=16), texts)
@settings(max_examples=500)
def test_any_text_is_matched_or_refused(expression: str, text: str) -> None:
    """Whatever is written: groups, no match, or a refusal with a reason; and within the steps, or too costly."""
    try:
        found = groups(expression, text, steps=STEPS_MAX)
    except (PatternRefused, TemplateTooCostly):
        return
    assert found is None or found[0] == text


@pytest.mark.parametrize(
    ("expression", "text", "expected"),
    [
        ("box(.*)", "BOX17", ("BOX17", "17")),
        ("(a+)(a*)", "aaa", ("aaa", "aaa", "")),
        ("(a+?)(a*)", "aaa", ("aaa", "a", "aa")),
        ("(a|ab)(c|bcd)(d*)", "abcd", ("abcd", "a", "bcd", "")),
        ("(?:x(\\d))*", "x1x2", ("x1x2", "2")),
        ("(x)?y", "y", ("y", None)),
        ("(a*)*b", "aab", ("aab", "aa")),
        ("(|a)*", "aa", ("aa", "a")),
        ("^a$", "a", ("a",)),
        ("a$\\n", "a\n", ("a\n",)),
        ("\\Aab\\b.c\\z", "ab-c", ("ab-c",)),
        ("a\\Bb", "ab", ("ab",)),
        ("a\\bb", "ab", None),
        ("\\Qa.b\\E+", "a.bbb", ("a.bbb",)),
        (".", "\u2028", None),
        (".", "\u00e9", ("\u00e9",)),
        ("\u00e9", "\u00c9", None),
        ("[\\u00e0-\\u00ff]{2}", "\u00e9\u00e8", ("\u00e9\u00e8",)),
        ("", "", ("",)),
        ("", "a", None),
        ("a|", "", ("",)),
    ],
)
def test_what_matches(expression: str, text: str, expected: tuple[str | None, ...] | None) -> None:
    assert groups(expression, text) == expected


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (r"(a)\1", "a back-reference"),
        (r"\k<x>", "a back-reference"),
        ("(?=a)", "look-ahead"),
        ("(?!a)", "look-ahead"),
        ("(?<=a)", "look-behind"),
        ("(?<!a)", "look-behind"),
        ("(?>a)", "an atomic group"),
        ("(?<x>a)", "a named group"),
        ("(?i)a", "a flag inside"),
        ("a*+", "possessive"),
        ("a**", "behind a quantifier"),
        (r"\p{Alpha}", "a character property"),
        (r"\q", r"escape \\q is not known"),
        (r"\07", "an octal escape"),
        ("[a[b]]", "a class inside a class"),
        ("[a&&b]", "intersection"),
        ("[b-a]", "must rise"),
        (r"[a-\d]", "must rise"),
        ("[a", "not closed"),
        ("(a", "not closed"),
        ("a)", "nothing opened"),
        ("*a", "nothing before it"),
        ("a{x}", "no count"),
        ("a{2,1}", "must rise"),
        ("a{1001}", "1000 at most"),
        ("a\\", "backslash at the end"),
        (r"\x{110000}", "no such character"),
        ("(" * 17 + ")" * 17, "nest deeper than 16"),
        ("()" * 33, "more than 32 groups"),
        ("a" * 1_025, "1024 are allowed"),
        ("(a{1000}){1000}", "use smaller counts"),
        ("(?:(?:(?:){1000}){1000}){1000}", "use smaller counts"),
    ],
)
def test_what_is_refused_by_its_name(expression: str, said: str) -> None:
    with pytest.raises(PatternRefused, match=said):
        compile_regex(expression, fold=True)


@pytest.mark.parametrize(
    "expression", ["(a*)*b", "(a|a)*b", "(a|aa)+$b", "(x+x+)+y", "(.*)(.*)(.*)(.*)c", "(a?){30}a{30}b"]
)
def test_expressions_that_blow_up_elsewhere_cost_linear_steps(expression: str) -> None:
    regex = compile_regex(expression, fold=True)
    spent = []
    for size in (250, 500, 1_000):
        budget = Budget(GENEROUS)
        assert regex.fullmatch("a" * size, budget) is None
        spent.append(budget.spent)
        assert budget.spent <= (size + 1) * (len(regex) + 1)
    assert spent[2] - spent[1] <= 2 * (spent[1] - spent[0]) + len(regex)


def test_the_budget_ends_what_is_linear_but_long() -> None:
    regex = compile_regex("(?:a?){400}", fold=True)
    assert len(regex) <= INSTRUCTIONS_MAX
    with pytest.raises(TemplateTooCostly, match=f"more than {STEPS_MAX} steps"):
        regex.fullmatch("a" * 800, Budget())


@given(
    st.lists(st.tuples(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF)).map(lambda r: (min(r), max(r))), max_size=4)
)
def test_sets_of_characters(ranges: list[tuple[int, int]]) -> None:
    characters = set_of(ranges)
    edges = {point for first, last in ranges for point in (first - 1, first, last, last + 1)} | {0, 65, 97, 0x10FFFF}
    for point in (edge for edge in edges if 0 <= edge <= 0x10FFFF):
        inside = any(first <= point <= last for first, last in ranges)
        assert contains(characters, point) == inside
        assert contains(complement(characters), point) != inside
        letter = chr(point)
        other = ord(letter.swapcase()) if letter.isascii() and letter.isalpha() else point
        assert contains(without_case(characters), point) == (inside or contains(characters, other))
    assert complement(complement(characters)) == characters
