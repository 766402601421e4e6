"""HS_NAMESPACE data: XML written by the owners of prefixes, read with everything switched off (docs/protocol.md §9).

No document type, so no entities; no processing instructions; bounded in size, depth and number of elements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from idnode_registry.errors import TemplateRefused

XML_OCTETS_MAX: Final = 64 * 1024
XML_DEPTH_MAX: Final = 16
XML_ELEMENTS_MAX: Final = 1_000
DELIMITER_OCTETS_MAX: Final = 64
NAMESPACES_KEPT_MAX: Final = 64
_ESCAPED: Final = {"\r": "&#13;"}
"""Readers of XML turn a bare one into a line feed."""


@dataclass(frozen=True)
class Element:
    """An element; ``content`` is its text and elements in order. What is derived from that is made once."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    content: tuple[Element | str, ...] = ()

    @cached_property
    def children(self) -> tuple[Element, ...]:
        return tuple(item for item in self.content if isinstance(item, Element))

    @cached_property
    def weight(self) -> int:
        """How many elements and attributes it is."""
        return 1 + len(self.attributes) + sum(child.weight for child in self.children)

    @cached_property
    def text(self) -> str:
        """The text directly inside; empty when it is only white space."""
        joined = "".join(item for item in self.content if isinstance(item, str))
        return joined if joined.strip() else ""

    @cached_property
    def inner_xml(self) -> str:
        """The child elements written back, without the white space around them."""
        return "".join(child.to_xml() for child in self.children)

    def to_xml(self) -> str:
        """The element written back."""
        attributes = "".join(f" {name}={quoteattr(value)}" for name, value in self.attributes.items())
        inner = "".join(item.to_xml() if isinstance(item, Element) else escape(item, _ESCAPED) for item in self.content)
        return f"<{self.name}{attributes}>{inner}</{self.name}>" if inner else f"<{self.name}{attributes}/>"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace. Only the first ``template`` counts; without a body it only sets the delimiter."""

    template: Element | None = None
    delimiter: bytes | None = None
    status: str = ""
    status_message: str = ""
    contact: str = ""
    locations: str = ""

    @property
    def has_body(self) -> bool:
        return self.template is not None and bool(self.template.children or "ref" in self.template.attributes)


class _Builder:
    """Makes the tree; expat's C code calls it, and passes on what it raises."""

    def __init__(self) -> None:
        self._open: list[tuple[str, dict[str, str], list[Element | str]]] = []
        self._elements = 0
        self.root: Element | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > XML_ELEMENTS_MAX:
            raise TemplateRefused(f"the XML has more than {XML_ELEMENTS_MAX} elements")
        if len(self._open) >= XML_DEPTH_MAX:
            raise TemplateRefused(f"the XML nests deeper than {XML_DEPTH_MAX}")
        self._open.append((name, attributes, []))

    def end(self, _: str) -> None:
        name, attributes, content = self._open.pop()
        made = Element(name, attributes, tuple(content))
        if self._open:
            self._open[-1][2].append(made)
        else:
            self.root = made

    def text(self, data: str) -> None:
        if self._open:
            self._open[-1][2].append(data)


def _refuse_document_type(*_: object) -> None:
    raise TemplateRefused("the XML declares a document type or entities, which are refused; leave <!DOCTYPE out")


def _refuse_instruction(*_: object) -> None:
    raise TemplateRefused("the XML holds a processing instruction, which is refused; leave <?..?> out")


def parse_xml(octets: bytes) -> Element:
    """The root element. Raises :class:`TemplateRefused`."""
    if len(octets) > XML_OCTETS_MAX:
        raise TemplateRefused(f"XML of {len(octets)} octets; {XML_OCTETS_MAX} are allowed")
    builder, parser = _Builder(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.EntityDeclHandler = _refuse_document_type
    parser.ProcessingInstructionHandler = _refuse_instruction
    try:
        parser.Parse(octets, True)
    except expat.ExpatError as wrong:
        raise TemplateRefused(f"not well-formed XML: {wrong}") from wrong
    except (LookupError, ValueError) as wrong:
        raise TemplateRefused(f"the XML names an encoding that cannot be read: {wrong}") from wrong
    if builder.root is None:
        raise TemplateRefused("the XML has no element")
    return builder.root


@lru_cache(maxsize=NAMESPACES_KEPT_MAX)
def parse_namespace(octets: bytes) -> Namespace:
    """The namespace in HS_NAMESPACE data; its root element may have any name. Raises :class:`TemplateRefused`."""
    root = parse_xml(octets)
    texts = {child.name: child.text.strip() for child in reversed(root.children)}
    template = next((child for child in root.children if child.name == "template"), None)
    delimiter = None if template is None else template.attributes.get("delimiter")
    encoded = None if delimiter is None else delimiter.encode("utf-8")
    if encoded is not None and not 0 < len(encoded) <= DELIMITER_OCTETS_MAX:
        raise TemplateRefused(f"a delimiter has 1 to {DELIMITER_OCTETS_MAX} octets")
    return Namespace(
        template,
        encoded,
        texts.get("status", ""),
        texts.get("statusmsg", ""),
        texts.get("contact", ""),
        texts.get("locs", ""),
    )


@lru_cache(maxsize=NAMESPACES_KEPT_MAX)
def parse_template(octets: bytes) -> Element:
    """The template a ``ref`` leads to: the root element if it is one, else its first ``template`` child."""
    root = parse_xml(octets)
    if root.name == "template":
        return root
    found = next((child for child in root.children if child.name == "template"), None)
    if found is None:
        raise TemplateRefused("the XML that a ref leads to holds no <template>")
    return found
