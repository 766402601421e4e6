"""Every element of templates, every bound, and XML from people who mean harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idnode_protocol.value import HandleValue, Reference, values_from_octets, values_to_octets
from idnode_registry.errors import TemplateRefused, TemplateTooCostly
from idnode_registry.templates.budget import STEPS_MAX, Budget
from idnode_registry.templates.evaluate import Evaluation, Question
from idnode_registry.templates.namespace import (
    XML_DEPTH_MAX,
    XML_ELEMENTS_MAX,
    XML_OCTETS_MAX,
    parse_namespace,
    parse_template,
    parse_xml,
)
from idnode_registry.templates.substitution import substitute

BASE = (
    HandleValue(1, "URL", b"https://example.org/", ttl=60, timestamp=7),
    HandleValue(2, "EMAIL", b"a@example.org"),
    HandleValue(9, "HS_SECKEY", b"hidden", permissions=0x0C),
)
Made = list[tuple[int, str, bytes]] | None


def run(
    body: str,
    extension: str = "box17",
    values: tuple[HandleValue, ...] = BASE,
    refs: dict[int, str] | None = None,
    budget: Budget | None = None,
    fold: bool = True,
) -> list[HandleValue] | None:
    def data_of(reference: Reference) -> bytes | None:
        found = (refs or {}).get(reference.index)
        return None if found is None else found.encode()

    template = parse_template(f"<template>{body}</template>".encode())
    question = Question(f"99.900/b@{extension}", "99.900/b", extension, values, 42)
    return Evaluation(question, data_of, budget or Budget(), fold=fold).run(template)


def shown(made: list[HandleValue] | None) -> Made:
    return None if made is None else [(value.index, value.type, value.data) for value in made]


V = '<value type="T" data="{}"/>'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(V.format("x"), [(1, "T", b"x")], id="value"),
        pytest.param('<value index="7" type="T" data="x"/>', [(1, "T", b"x")], id="no index outside foreach"),
        pytest.param(V.format("x") + V.format("y"), [(1, "T", b"x"), (2, "T", b"y")], id="numbered"),
        pytest.param('<value type="T">a ${base}</value>', [(1, "T", b"a 99.900/b")], id="text"),
        pytest.param(
            '<value type="T"> <l a="1&lt;"><m/>&amp;</l> </value>', [(1, "T", b'<l a="1&lt;"><m/>&amp;</l>')], id="XML"
        ),
        pytest.param('<value type="T" data=""/>', [(1, "T", b"")], id="empty data"),
        pytest.param(
            V.format("${handle}|${base}|${extension}|$0|${0}|${extension[0]}|${none}|${extension[1]}|$1"),
            [(1, "T", b"99.900/b@box17|99.900/b|box17|box17|box17|box17|||")],
            id="variables",
        ),
        pytest.param(V.format(r"\$\{a\}\\ $ ${ $x"), [(1, "T", rb"${a}\ $ ${ $x")], id="literals"),
        pytest.param(
            "<foreach><value/></foreach>",
            [(1, "URL", b"https://example.org/"), (2, "EMAIL", b"a@example.org"), (9, "HS_SECKEY", b"hidden")],
            id="foreach copies",
        ),
        pytest.param(
            '<foreach><if value="type" expression="URL"><value index="9" type="X.${type}" data="${data}?${index}"/>'
            "</if></foreach>",
            [(9, "X.URL", b"https://example.org/?1")],
            id="foreach replaces",
        ),
        pytest.param(
            '<foreach><value index="9" data="${index}"/></foreach>',
            [(9, "URL", b"1"), (10, "EMAIL", b"2"), (11, "HS_SECKEY", b"9")],
            id="moved up while taken",
        ),
        pytest.param(
            '<if test="matches" expression="BOX(\\d)(\\d)">'
            + V.format("$1-${2}-${extension[2]}-${extension}")
            + "</if>",
            [(1, "T", b"1-7-7-box17")],
            id="matches",
        ),
        pytest.param(
            '<if test="matches" expression="box(.*)" parameter="x">' + V.format("${x[1]},${x},$1") + "</if>",
            [(1, "T", b"17,box17,")],
            id="parameter",
        ),
        pytest.param('<if test="matches" expression="ox17">' + V.format("x") + "</if>", [], id="the whole text"),
        pytest.param('<if expression="box17">' + V.format("x") + "</if>", [(1, "T", b"x")], id="equals by default"),
        pytest.param('<if expression="BOX17">' + V.format("x") + "</if>", [], id="equals with case"),
        pytest.param("<if>" + V.format("x") + "</if>", [(1, "T", b"x")], id="always"),
        pytest.param('<if negate="true">' + V.format("x") + "</if>", [(1, "T", b"x")], id="not empty"),
        pytest.param(
            '<if expression="box17" negate="true">' + V.format("x") + "</if><else>" + V.format("y") + "</else>",
            [(1, "T", b"y")],
            id="else of negate",
        ),
        pytest.param(
            '<if expression="a">' + V.format("x") + "</if><else>" + V.format("y") + "</else>",
            [(1, "T", b"y")],
            id="else",
        ),
        pytest.param(
            '<if expression="box17">' + V.format("x") + "</if><else>" + V.format("y") + "</else>",
            [(1, "T", b"x")],
            id="no else",
        ),
        pytest.param(
            '<if value="nothing" expression="">' + V.format("x") + "</if>", [(1, "T", b"x")], id="unknown variable"
        ),
        pytest.param(
            '<def parameter="x"><value data="${extension}!"/></def>' + V.format("${x}${x}"),
            [(1, "T", b"box17!box17!")],
            id="def",
        ),
        pytest.param(
            '<def parameter="x"><if expression="a"/></def>' + V.format("[${x}]"), [(1, "T", b"[]")], id="no def"
        ),
        pytest.param(
            '<if><def parameter="x"><value data="1"/></def></if>' + V.format("[${x}]"), [(1, "T", b"[]")], id="def ends"
        ),
        pytest.param(
            '<def parameter="x"><foreach><if value="type" expression="HS_SECKEY"><value/></if></foreach></def>'
            + V.format("[${x}]"),
            [(1, "T", b"[]")],
            id="def shows nothing private",
        ),
        pytest.param("<notfound/>", None, id="notfound"),
        pytest.param(V.format("x") + '<def parameter="x"><notfound/></def>', None, id="notfound in def"),
        pytest.param('<if expression="a"><notfound/></if>' + V.format("x"), [(1, "T", b"x")], id="notfound elsewhere"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_elements(body: str, expected: Made) -> None:
    assert shown(run(body)) == expected


def test_copies_keep_what_they_copy_and_others_get_defaults() -> None:
    made = run('<value type="A" data="b"/><foreach><value index="20" data="x"/></foreach>')
    assert made is not None
    assert (made[0].ttl, made[0].permissions, made[0].timestamp) == (86_400, 0x0E, 42)
    assert [(value.ttl, value.permissions, value.timestamp) for value in made[1:]] == [
        (60, 0x0E, 7),
        (86_400, 0x0E, 0),
        (86_400, 0x0C, 0),
    ]


def test_matching_follows_the_case_mode_of_the_store() -> None:
    body = '<if test="matches" expression="BOX.*">' + V.format("x") + "</if>"
    assert shown(run(body, fold=True)) == [(1, "T", b"x")]
    assert shown(run(body, fold=False)) == []


def test_data_that_is_no_text_comes_through() -> None:
    odd = (HandleValue(1, "X", bytes(range(128, 256))),)
    made = run('<foreach><value data="${data}"/></foreach>', values=odd)
    assert made == list(odd)
    with pytest.raises(TemplateRefused, match="not UTF-8"):
        run('<foreach><value type="${data}"/></foreach>', values=odd)


def test_refs_lead_on_and_end() -> None:
    leads = {1: "<namespace><template ref='2:99.900/t'/></namespace>", 2: "<template>" + V.format("$0") + "</template>"}
    assert shown(run('<template ref="1:99.900/t"/>', refs=leads)) == [(1, "T", b"box17")]
    assert run('<template ref="1:99.900/t"/>', refs={1: "<template ref='1:99.900/t'/>"}) is None
    chain = {n: f"<template ref='{n + 1}:99.900/t'/>" for n in range(1, 12)} | {11: "<template><notfound/></template>"}
    chain[10] = "<template>" + V.format("x") + "</template>"
    assert shown(run('<template ref="1:99.900/t"/>', refs=chain)) == [(1, "T", b"x")]
    chain[10], chain[11] = "<template ref='11:99.900/t'/>", "<template>" + V.format("x") + "</template>"
    assert run('<template ref="1:99.900/t"/>', refs=chain) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<else/>", "must follow an <if>"),
        ("<if/><value type='T' data=''/><else/>", "must follow an <if>"),
        ("<foreach><foreach/></foreach>", "does not nest"),
        ("<xyzzy/>", "<xyzzy> is no element"),
        ("<value data='x'/>", "needs a type and data"),
        ("<value type='T'/>", "needs a type and data"),
        ("<value type='' data='x'/>", "a type made by"),
        ("<foreach><value index='x'/></foreach>", "index must be a number"),
        ("<foreach><value index='0'/></foreach>", "index must be a number"),
        ("<foreach><value index='2147483648'/></foreach>", "index must be a number"),
        ("<if test='contains' expression='x'/>", "equals or matches"),
        ("<if negate='yes'/>", "true or false"),
        ("<if test='matches' expression='(?=x)'/>", "look-ahead"),
        ("<def/>", "needs a parameter"),
        ("<template ref='x'/>", "index:handle"),
        ("<template ref='x:y'/>", "the index of a ref"),
        ("<template ref='5:99.900/none'/>", "not stored here"),
    ],
)
def test_mistakes_are_named(body: str, said: str) -> None:
    with pytest.raises(TemplateRefused, match=said):
        run(body)


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "not well-formed"),
        (b"<a>", "not well-formed"),
        (b"<a/><b/>", "not well-formed"),
        (b"<!DOCTYPE a><a/>", "document type"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>', "document type"),
        (b"<a>&b;</a>", "not well-formed"),
        (b"<a><?php x?></a>", "processing instruction"),
        (b"<?xml-stylesheet x?><a/>", "processing instruction"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "not well-formed|encoding"),
        (b"<a>" * (XML_DEPTH_MAX + 1) + b"</a>" * (XML_DEPTH_MAX + 1), "nests deeper"),
        (b"<a>" + b"<b/>" * XML_ELEMENTS_MAX + b"</a>", "elements"),
        (b"<a>" + b" " * XML_OCTETS_MAX + b"</a>", "octets"),
    ],
)
def test_hostile_xml_is_refused(octets: bytes, said: str) -> None:
    with pytest.raises(TemplateRefused, match=said):
        parse_xml(octets)


def test_the_bounds_of_xml_are_reached() -> None:
    assert parse_xml(b"<a>" * XML_DEPTH_MAX + b"</a>" * XML_DEPTH_MAX).name == "a"
    assert len(parse_xml(b"<a>" + b"<b/>" * (XML_ELEMENTS_MAX - 1) + b"</a>").children) == XML_ELEMENTS_MAX - 1
    assert parse_xml('<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'.encode("latin-1")).text == "é"
    assert parse_xml(b"<a><![CDATA[<b>]]><!-- c --></a>").text == "<b>"


def test_a_namespace_is_read() -> None:
    namespace = parse_namespace(
        b"<n><status>active</status><statusmsg>all is well</statusmsg><contact>a@example.org</contact>"
        b"<locs>1:99.900/l</locs><template delimiter='@'/><template delimiter='#'><notfound/></template></n>"
    )
    assert (namespace.delimiter, namespace.has_body, namespace.status) == (b"@", False, "active")
    assert (namespace.status_message, namespace.contact, namespace.locations) == (
        "all is well",
        "a@example.org",
        "1:99.900/l",
    )
    assert parse_namespace(b"<n><template><notfound/></template></n>").has_body
    assert parse_namespace(b"<n><template ref='1:99.900/x'/></n>").has_body
    for wrong in ("", "x" * 65):
        with pytest.raises(TemplateRefused, match="delimiter"):
            parse_namespace(f"<n><template delimiter='{wrong}'/></n>".encode())


def doubling(rounds: int) -> str:
    again = '<def parameter="x"><value data="${x}${x}"/></def>'
    return '<def parameter="x"><value data="' + "y" * 64 + '"/></def>' + again * rounds


MANY = tuple(HandleValue(index, "URL", b"x" * 100) for index in range(1, 2_049))
MUCH = '<b c="d"/>' * 900
COSTLY: dict[str, dict[str, Any]] = {
    "doubling": {"body": doubling(40)},
    "foreach of many elements": {"body": "<foreach>" + "<if expression='q'/>" * 400 + "</foreach>", "values": MANY},
    "variables": {
        "body": "".join(f'<def parameter="v{n}"><value data=""/></def>' for n in range(300))
        + "<foreach><if/><if/><if/><if/><if/><if/></foreach>",
        "values": MANY,
    },
    "XML written back": {
        "body": '<foreach><value type="T">' + "<a/>" * 900 + "</value></foreach>",
        "values": MANY,
    },
    "expressions": {"body": '<if test="matches" expression="(?:a?){400}"/>' * 20, "extension": "a" * 1_000},
    "different expressions": {
        "body": "".join(f"<if test='matches' expression='{n}{'(?:a|b)?' * 100}'/>" for n in range(40))
    },
    "refs to much XML": {
        "body": "".join(f"<template ref='{n}:99.900/t'/>" for n in range(1, 60)),
        "refs": {n: f"<template a='{n}'><if expression='x'>{MUCH}</if></template>" for n in range(1, 60)},
    },
    "big data": {"body": "<foreach><value data='${data}${data}${data}'/></foreach>" * 4, "values": MANY},
    "places": {"body": V.format("$0" * 20_000)},
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_costs_too_much_ends(name: str) -> None:
    budget = Budget()
    with pytest.raises(TemplateTooCostly, match=r"more than (10000 steps|262144 octets)"):
        run(budget=budget, **COSTLY[name])
    assert budget.spent <= STEPS_MAX + XML_OCTETS_MAX


def test_what_is_made_is_bounded_even_with_steps_left() -> None:
    with pytest.raises(TemplateTooCostly, match="values of more than"):
        run('<foreach><value data="' + "x" * 1_000 + '"/></foreach>', values=MANY, budget=Budget(10**9))
    with pytest.raises(TemplateTooCostly, match="2048 values"):
        run("<foreach><value/><value/></foreach>", values=MANY, budget=Budget(10**9))
    with pytest.raises(TemplateTooCostly, match="a text of more than"):
        substitute("$0" * 5, {"extension": ("x" * 60_000,)}, Budget(10**9))


def test_a_usual_template_costs_a_fortieth_of_what_is_allowed() -> None:
    budget = Budget()
    run(
        '<foreach><if value="type" expression="URL"><if value="extension" test="matches" expression="box(.*)">'
        '<value data="${data}?box=$1"/></if><else><value/></else></if></foreach>',
        budget=budget,
    )
    assert budget.spent <= STEPS_MAX // 40


NAMES = ["template", "value", "foreach", "if", "else", "def", "notfound"]
ATTRIBUTES = {
    "type": ["T", "${type}", ""],
    "data": ["${data}", "$1${x}", "\\$", "${extension[1]}"],
    "index": ["1", "x", "99"],
    "value": ["extension", "type", "data"],
    "test": ["equals", "matches"],
    "expression": ["box(.*)", "URL", "(a*)*", "("],
    "negate": ["true", "false"],
    "parameter": ["x", "extension"],
    "ref": ["1:99.900/t", "2:99.900/t"],
}


def attribute(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from(ATTRIBUTES[name]).map(lambda value: f' {name}="{value}"')


@st.composite
def elements(draw: st.DrawFn, depth: int = 2) -> str:
    name = draw(st.sampled_from(NAMES))
    wanted = draw(st.lists(st.sampled_from(sorted(ATTRIBUTES)), unique=True, max_size=4))
    attributes = "".join(draw(attribute(each)) for each in wanted)
    inner = "".join(draw(st.lists(elements(depth - 1), max_size=3))) if depth else ""
    return f"<{name}{attributes}>{inner}</{name}>"


@given(st.lists(elements(), max_size=3).map("".join), elements())
@settings(max_examples=200)
def test_any_template_makes_values_or_says_why_not(body: str, referred: str) -> None:
    budget = Budget()
    refs = {1: f"<template>{referred}</template>", 2: "<template ref='1:99.900/t'/>"}
    try:
        made = run(body, refs=refs, budget=budget)
    except TemplateRefused:
        made = None
    indexes = sorted(value.index for value in made or ())
    assert len(indexes) == len(set(indexes))
    assert [value.index for value in values_from_octets(values_to_octets(made or ()))] == indexes
    assert budget.spent <= STEPS_MAX + XML_OCTETS_MAX


inside = st.text("<>/!?&#13;[]'\"=atempl \r\n", max_size=40)


@given(st.binary(max_size=200) | inside.map(lambda text: f"<n><template a='1'>{text}</template></n>".encode()))
@settings(max_examples=500)
def test_any_octets_are_a_namespace_or_refused(octets: bytes) -> None:
    try:
        namespace = parse_namespace(octets)
    except TemplateRefused:
        return
    if namespace.template is not None:
        written = namespace.template.to_xml()
        assert parse_xml(written.encode()).to_xml() == written


@given(st.text("${}[]\\0123ab", max_size=60))
def test_any_text_can_be_substituted(text: str) -> None:
    made = substitute(text, {"a": ("A", "B"), "extension": ("E",)}, Budget())
    if not set(text) & set("$\\"):
        assert made == text
