"""Running a template: elements in, values out (docs/protocol.md §9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from idnode_protocol.limits import TYPE_OCTETS_MAX, VALUES_PER_HANDLE_MAX
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.errors import TemplateRefused, TemplateTooCostly
from idnode_registry.templates.budget import ELEMENT_STEPS, EXPRESSION_STEPS, SCOPE_STEPS, VALUE_STEPS, Budget
from idnode_registry.templates.namespace import Element, parse_template
from idnode_registry.templates.regex import compile_regex
from idnode_registry.templates.substitution import Groups, substitute

REFS_MAX: Final = 10
"""Templates that lead to templates; one more and the handle is not found."""
INDEX_MAX: Final = 2**31 - 1
OCTETS_MAX: Final = 256 * 1024
"""Data of all values together; no message carries more."""
VARIABLES_PER_STEP: Final = 32
TRUTHS: Final[dict[str, bool]] = {"true": True, "false": False}
DataOf = Callable[[Reference], bytes | None]
"""The data of one value of a stored handle, None when there is none."""


class NoSuchHandle(Exception):
    """``<notfound/>`` was reached, or templates referred to each other too often."""


@dataclass(frozen=True, slots=True)
class Question:
    """The name that was asked for, cut at the delimiter, and what its base holds. Texts keep odd octets."""

    handle: str
    base: str
    extension: str
    values: Sequence[HandleValue]
    timestamp: int = 0
    """Of values that are no copies, seconds since 1970."""


@dataclass(slots=True)
class Scope:
    """What a body sees: variables, the base value of a ``foreach``, and whether a ``def`` surrounds it."""

    variables: dict[str, Groups]
    current: HandleValue | None = None
    in_def: bool = False
    refs: int = 0

    def inner(self, budget: Budget) -> Scope:
        """The same for a body inside, whose variables end with it."""
        budget.spend(SCOPE_STEPS + len(self.variables) // VARIABLES_PER_STEP)
        return Scope(dict(self.variables), self.current, self.in_def, self.refs)


@dataclass(slots=True)
class Made:
    """The values of one body, in order."""

    values: list[HandleValue] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)

    def add(self, value: HandleValue) -> None:
        """Under the next free index from its own on."""
        index = value.index
        while index in self.taken:
            index += 1
        if index > INDEX_MAX or len(self.values) >= VALUES_PER_HANDLE_MAX:
            raise TemplateTooCostly(f"the template makes more than {VALUES_PER_HANDLE_MAX} values")
        self.taken.add(index)
        self.values.append(value if index == value.index else replace(value, index=index))


class Evaluation:
    """One run of one template."""

    def __init__(self, question: Question, data_of: DataOf, budget: Budget, *, fold: bool) -> None:
        self._question, self._data_of, self._budget, self._fold = question, data_of, budget, fold
        self._octets = 0
        self._effects: dict[str, Callable[[Element, Scope, Made], None]] = {
            "template": self._template,
            "value": self._value,
            "foreach": self._foreach,
            "if": self._if,
            "def": self._def,
            "notfound": self._notfound,
        }

    def run(self, template: Element) -> list[HandleValue] | None:
        """The values; None = handle not found. Raises :class:`TemplateRefused` and its subclasses."""
        question, made = self._question, Made()
        variables: dict[str, Groups] = {
            "handle": (question.handle,),
            "base": (question.base,),
            "extension": (question.extension,),
        }
        try:
            self._template(template, Scope(variables), made)
        except NoSuchHandle:
            return None
        return made.values

    def _body(self, elements: Sequence[Element], scope: Scope, made: Made) -> None:
        previous: Element | None = None
        for element in elements:
            self._budget.spend(ELEMENT_STEPS)
            if element.name == "else":
                if previous is None or previous.name != "if":
                    raise TemplateRefused("<else> must follow an <if> directly")
                self._branch(previous, element, scope, made, is_else=True)
            else:
                effect = self._effects.get(element.name)
                if effect is None:
                    raise TemplateRefused(f"<{element.name[:32]}> is no element of templates")
                effect(element, scope, made)
            previous = element

    def _template(self, element: Element, scope: Scope, made: Made) -> None:
        ref = element.attributes.get("ref")
        if ref is None:
            self._body(element.children, scope, made)
            return
        if scope.refs >= REFS_MAX:
            raise NoSuchHandle
        data = self._data_of(_reference(ref))
        if data is None:
            raise TemplateRefused(f"the template at {ref[:64]} is not stored here")
        template = parse_template(data)
        self._budget.spend_text(len(data))
        self._budget.spend(ELEMENT_STEPS * template.weight)
        inner = scope.inner(self._budget)
        inner.refs += 1
        self._template(template, inner, made)

    def _value(self, element: Element, scope: Scope, made: Made) -> None:
        attributes, current = element.attributes, scope.current
        kind, data = attributes.get("type"), self._data(element, scope)
        if kind is not None:
            kind = _type(substitute(kind, scope.variables, self._budget))
        if current is not None:
            own = attributes.get("index")
            self._put(
                made,
                replace(
                    current,
                    index=current.index if own is None else _number(own, "index"),
                    type=current.type if kind is None else kind,
                    data=current.data if data is None else data,
                ),
            )
            return
        if data is None or (kind is None and not scope.in_def):
            raise TemplateRefused("<value> outside <foreach> needs a type and data")
        self._put(made, HandleValue(1, kind or "", data, timestamp=self._question.timestamp))

    def _put(self, made: Made, value: HandleValue) -> None:
        self._octets += len(value.data)
        if self._octets > OCTETS_MAX:
            raise TemplateTooCostly(f"the template makes values of more than {OCTETS_MAX} octets")
        self._budget.spend(VALUE_STEPS)
        made.add(value)

    def _data(self, element: Element, scope: Scope) -> bytes | None:
        """The attribute, else the text, else the child elements as XML; None = none of them."""
        text = element.attributes.get("data")
        if text is None:
            text = element.text or element.inner_xml
            if not text:
                return None
        return _octets(substitute(text, scope.variables, self._budget))

    def _foreach(self, element: Element, scope: Scope, made: Made) -> None:
        """The body for each base value; inside a ``def`` for those that everybody may read.

        A copy keeps the permissions of its value, but what a ``def`` takes out of one goes into values of its own.
        """
        if scope.current is not None:
            raise TemplateRefused("<foreach> does not nest")
        for value in self._question.values:
            if scope.in_def and not value.is_publicly_readable:
                continue
            text = _text(value.data)
            self._budget.spend_text(len(text))
            inner = scope.inner(self._budget)
            inner.current = value
            inner.variables |= {"type": (value.type,), "data": (text,), "index": (str(value.index),)}
            self._body(element.children, inner, made)

    def _if(self, element: Element, scope: Scope, made: Made) -> None:
        self._branch(element, element, scope, made, is_else=False)

    def _branch(self, condition: Element, body: Element, scope: Scope, made: Made, *, is_else: bool) -> None:
        """The body, when the condition (or for ``else`` its opposite) holds; the parameter is bound inside."""
        attributes = condition.attributes
        name = attributes.get("value", "extension")
        whole = (scope.variables.get(name) or ("",))[0] or ""
        found = self._tested(attributes, whole)
        negate = attributes.get("negate", "false")
        if negate not in TRUTHS:
            raise TemplateRefused(f"negate is true or false, not {negate[:16]!r}")
        if (found is not None) == (TRUTHS[negate] != is_else):
            return
        inner = scope.inner(self._budget)
        inner.variables[attributes.get("parameter", name)] = found or (whole,)
        self._body(body.children, inner, made)

    def _tested(self, attributes: dict[str, str], whole: str) -> Groups | None:
        """The groups when the test holds, the text itself being group 0; None when it does not."""
        if not attributes.keys() & {"test", "expression", "negate"}:
            return (whole,)
        test, expression = attributes.get("test", "equals"), attributes.get("expression", "")
        self._budget.spend_text(len(whole))
        if test == "equals":
            return (whole,) if whole == expression else None
        if test != "matches":
            raise TemplateRefused(f"test is equals or matches, not {test[:16]!r}")
        self._budget.spend(EXPRESSION_STEPS * len(expression))
        regex = compile_regex(expression, fold=self._fold)
        self._budget.spend(len(regex))
        return regex.fullmatch(whole, self._budget)

    def _def(self, element: Element, scope: Scope, made: Made) -> None:
        name = element.attributes.get("parameter")
        if not name:
            raise TemplateRefused("<def> needs a parameter")
        inner, found = scope.inner(self._budget), Made()
        inner.in_def = True
        self._body(element.children, inner, found)
        scope.variables[name] = (_text(found.values[0].data) if found.values else "",)

    def _notfound(self, element: Element, scope: Scope, made: Made) -> None:
        raise NoSuchHandle


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _type(text: str) -> str:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as wrong:
        raise TemplateRefused("a type made by <value> is not UTF-8 text") from wrong
    if not 0 < size <= TYPE_OCTETS_MAX:
        raise TemplateRefused(f"a type made by <value> must have 1 to {TYPE_OCTETS_MAX} octets")
    return text


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and 0 < int(text) <= INDEX_MAX):
        raise TemplateRefused(f"{what} must be a number from 1 to {INDEX_MAX}, not {text[:16]!r}")
    return int(text)


def _reference(text: str) -> Reference:
    index, colon, handle = text.partition(":")
    if not colon or not handle:
        raise TemplateRefused(f"a ref is index:handle, not {text[:64]!r}")
    return Reference(_octets(handle), _number(index, "the index of a ref"))
