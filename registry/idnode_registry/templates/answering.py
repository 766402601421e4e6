"""From a name that is not stored to values: which namespace, which base, which template (docs/protocol.md §9)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from idnode_protocol.handle import ROOT_HANDLE, prefix_handle, to_text, with_slash
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.elsewhere import Need, NotAtHand, Wanted
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
    delimiter; an answer that is not must be made anew each time. ``lives_s``: seconds for which what other servers said
    of namespaces may be used, None = they were not asked. ``is_stale``: they are gone, and their word outlived its TTL.
    """

    values: tuple[HandleValue, ...] | None
    base: bytes = b""
    base_values: tuple[HandleValue, ...] = ()
    is_lasting: bool = False
    lives_s: float | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """A namespace, who owns it, and the timestamp of the value that held it."""

    namespace: Namespace
    owner: str
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class _Namespaces:
    """The namespaces of a prefix, innermost first, and how long that may be believed."""

    sources: tuple[_Source, ...] = ()
    lives_s: float | None = None
    is_stale: bool = False

    def inside(self, outer: _Namespaces) -> _Namespaces:
        lives = [each.lives_s for each in (self, outer) if each.lives_s is not None]
        stale = self.is_stale or outer.is_stale
        return _Namespaces(self.sources + outer.sources, min(lives, default=None), stale)


def derive(registry: Registry, name: bytes) -> Derived:
    """The values of a name that is homed here but not stored. ``name`` as it was asked for.

    Raises :class:`TemplateRefused`, naming whose template it is, and the errors of reading.
    """
    found = _namespaces(registry, prefix_handle(name))
    derived = _derive(registry, name, found.sources)
    return replace(derived, lives_s=found.lives_s, is_stale=found.is_stale)


def _derive(registry: Registry, name: bytes, sources: tuple[_Source, ...]) -> Derived:
    delimiter = _delimiter(registry, sources)
    at = -1 if not delimiter or b"/" not in name else name.find(delimiter, name.index(b"/"))
    if not delimiter or at < 0:
        return Derived(None, is_lasting=True)
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


def makes_nothing(registry: Registry, prefix: bytes) -> bool:
    """Whether no name under a prefix handle can be made, until a prefix handle that is stored here changes.

    Raises what :func:`derive` raises.
    """
    found = _namespaces(registry, prefix)
    return found.lives_s is None and not _delimiter(registry, found.sources)


def _delimiter(registry: Registry, sources: tuple[_Source, ...]) -> bytes | None:
    own = next((each.namespace.delimiter for each in sources if each.namespace.delimiter), None)
    return own or registry.settings.template_delimiter


def _namespaces(registry: Registry, prefix: bytes) -> _Namespaces:
    settings = registry.settings
    if settings.namespace_override is not None:
        return _Namespaces((_Source(parse_namespace(settings.namespace_override), "the setting namespace_override"),))
    if prefix == ROOT_HANDLE:  # the name is a prefix handle; these are delegated, not made
        found = _Namespaces(_of_record(registry.values(prefix) or (), to_text(prefix)))
    else:
        found = _of_handle(registry, prefix).inside(_of_handle(registry, ROOT_HANDLE))
    if not found.sources and settings.namespace is not None:
        found = replace(found, sources=(_Source(parse_namespace(settings.namespace), "the setting namespace"),))
    return found


def _of_handle(registry: Registry, handle: bytes) -> _Namespaces:
    """What is stored here; a copy of a prefix handle that names no namespace leaves it to the one in the tree above."""
    values = registry.values(handle)
    here = _of_record(values or (), to_text(handle))
    if here or registry.elsewhere is None or (values is not None and handle == ROOT_HANDLE):
        return _Namespaces(here)
    try:
        known = registry.from_elsewhere(Wanted(handle, Need.NAMESPACE))
    except NotAtHand as missing:
        if values is None or missing.known is None:
            raise
        return _Namespaces(lives_s=missing.known.lives_s)  # nobody can tell more than the copy
    return _Namespaces(_of_record(known.values, to_text(handle)), known.lives_s, known.is_stale)


def _of_record(values: tuple[HandleValue, ...], owner: str) -> tuple[_Source, ...]:
    """The HS_NAMESPACE value with the lowest index; values are sorted by it."""
    value = next((value for value in values if value.has_type(HS_NAMESPACE)), None)
    return () if value is None else (_parsed(value.data, owner, value.timestamp),)


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
        if record is None and registry.is_elsewhere(reference.handle):
            wanted = Wanted(reference.handle, Need.TEMPLATE, reference.index)
            return next((each.data for each in registry.from_elsewhere(wanted).values), None)
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
