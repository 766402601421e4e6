"""From a name that is not stored to values: which namespace, which base, which template (docs/protocol.md §9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from idnode_protocol.handle import ROOT_HANDLE, prefix_handle, to_text, with_slash
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.errors import TemplateRefused
from idnode_registry.format import iter_value_slices, value_list
from idnode_registry.templates.budget import STORED_VALUE_STEPS, Budget
from idnode_registry.templates.evaluate import Evaluation, Question
from idnode_registry.templates.namespace import Namespace, parse_namespace

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

HS_NAMESPACE: Final = "HS_NAMESPACE"


@dataclass(frozen=True, slots=True)
class Derived:
    """What a name that is not stored answers with.

    ``values`` None = handle not found. ``base`` and ``base_values`` decide who may read what is not public.
    ``is_lasting``: nothing but the name's own record and its prefix handle was looked at, as of a name without
    delimiter; an answer that is not must be made anew each time.
    """

    values: tuple[HandleValue, ...] | None
    base: bytes = b""
    base_values: tuple[HandleValue, ...] = ()
    is_lasting: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """A namespace, who owns it, and the timestamp of the value that held it."""

    namespace: Namespace
    owner: str
    timestamp: int = 0


def derive(registry: Registry, name: bytes) -> Derived:
    """The values of a name that is homed here but not stored. ``name`` as it was asked for.

    Raises :class:`TemplateRefused`, naming whose template it is, and the errors of reading.
    """
    sources, is_local = _namespaces(registry, prefix_handle(name))
    delimiter = next((each.namespace.delimiter for each in sources if each.namespace.delimiter), None)
    delimiter = delimiter or registry.settings.template_delimiter
    at = -1 if not delimiter or b"/" not in name else name.find(delimiter, name.index(b"/"))
    if not delimiter or at < 0:
        return Derived(None, is_lasting=is_local)
    base, extension = name[:at], name[at + len(delimiter) :]
    values = registry.values(base) if registry.is_homed(base) else None
    if values is None and registry.place is not None and not registry.place.holds(registry.fold(with_slash(base))):
        raise TemplateRefused(f"{to_text(base)}, from which this name is made, is kept by another server of the site")
    if values is None and not sources:
        return Derived(None)
    values = values or ()
    sources = _of_record(values, to_text(base)) + sources
    source = next((each for each in sources if each.namespace.has_body), None)
    if source is None:
        return Derived(values, base, values)
    return Derived(_run(registry, source, name, base, extension, values), base, values)


def _namespaces(registry: Registry, prefix: bytes) -> tuple[list[_Source], bool]:
    """The namespaces of a prefix, innermost first; whether only this store was asked."""
    settings = registry.settings
    if settings.namespace_override is not None:
        return [_Source(parse_namespace(settings.namespace_override), "the setting namespace_override")], True
    found, is_local = _of_handle(registry, prefix)
    if prefix != ROOT_HANDLE:
        outer, is_outer_local = _of_handle(registry, ROOT_HANDLE)
        found, is_local = found + outer, is_local and is_outer_local
    if not found and settings.namespace is not None:
        found = [_Source(parse_namespace(settings.namespace), "the setting namespace")]
    return found, is_local


def _of_handle(registry: Registry, handle: bytes) -> tuple[list[_Source], bool]:
    values = registry.values(handle)
    if values is not None or registry.namespace_of is None:
        return _of_record(values or (), to_text(handle)), True
    octets = registry.namespace_of(handle)
    return ([] if octets is None else [_parsed(octets, to_text(handle), 0)]), False


def _of_record(values: tuple[HandleValue, ...], owner: str) -> list[_Source]:
    """The HS_NAMESPACE value with the lowest index; values are sorted by it."""
    value = next((value for value in values if value.has_type(HS_NAMESPACE)), None)
    return [] if value is None else [_parsed(value.data, owner, value.timestamp)]


def _parsed(octets: bytes, owner: str, timestamp: int) -> _Source:
    try:
        return _Source(parse_namespace(octets), owner, timestamp)
    except TemplateRefused as wrong:
        raise type(wrong)(f"the namespace of {owner} cannot be used: {wrong}") from wrong


def _run(
    registry: Registry, source: _Source, name: bytes, base: bytes, extension: bytes, values: tuple[HandleValue, ...]
) -> tuple[HandleValue, ...] | None:
    budget = Budget()

    def data_of(reference: Reference) -> bytes | None:
        record = registry.record(reference.handle)
        if record is None:
            return None
        values = value_list(record)
        for found in iter_value_slices(values):
            budget.spend(STORED_VALUE_STEPS)
            if found.index == reference.index:
                return HandleValue.from_octets(bytes(values[found.start : found.end])).data
        return None

    handle, base_text, rest = (octets.decode("utf-8", "surrogateescape") for octets in (name, base, extension))
    question = Question(handle, base_text, rest, values, source.timestamp)
    assert source.namespace.template is not None
    try:
        fold = registry.store.case_mode == "fold-all"
        made = Evaluation(question, data_of, budget, fold=fold).run(source.namespace.template)
    except TemplateRefused as wrong:
        raise type(wrong)(f"the template of {source.owner} cannot be used: {wrong}") from wrong
    return None if made is None else tuple(sorted(made, key=lambda value: value.index))
