"""``10320/loc``: several locations of one thing, and the choice among them (docs/protocol.md §7.5).

The choice is a row of filters. Each looks at what the one before left over; a filter that would leave nothing leaves
everything, except ``locatt``: who names an attribute wants a location that has it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

LOCATION_OCTETS_MAX: Final = 64 * 1024
LOCATIONS_MAX: Final = 1_000
DEFAULT_ORDER: Final = ("locatt", "address", "country", "score", "weighted")


class LocationsRefused(ValueError):
    """The data of a 10320/loc value cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Location:
    """One ``<location>``: where it leads, and its attributes by name."""

    href: str
    attributes: dict[str, str] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        """An attribute as a finite number, ``default`` when it is absent or none."""
        try:
            value = float(self.attributes.get(name, ""))
        except ValueError:
            return default
        return value if abs(value) < 1e9 else default


@dataclass(frozen=True, slots=True)
class Locations:
    """``<locations chooseby="...">`` with its children in order."""

    order: tuple[str, ...]
    locations: tuple[Location, ...]


@dataclass(frozen=True, slots=True)
class Visitor:
    """What is known of who asks: ``wanted`` are the ``locatt=name:value`` pairs, ``uniform`` draws 0 <= x < 1."""

    wanted: Sequence[tuple[str, str]]
    country: str | None
    uniform: Callable[[], float]


def parse_locations(data: bytes) -> Locations:
    """The data of a value of type 10320/loc; raises :class:`LocationsRefused`. No DTD, hence no entities."""
    if len(data) > LOCATION_OCTETS_MAX:
        raise LocationsRefused(f"the locations take {len(data)} octets, at most {LOCATION_OCTETS_MAX} are read")
    try:
        text = data.decode("utf-8")
        if "<!DOCTYPE" in text.upper():
            raise LocationsRefused("a document type is not allowed in locations")
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError, RecursionError) as wrong:
        raise LocationsRefused(f"the locations are not XML: {wrong}") from wrong
    found = [Location(each.get("href", ""), dict(each.attrib)) for each in root.iter("location") if each.get("href")]
    if len(found) > LOCATIONS_MAX:
        raise LocationsRefused(f"{len(found)} locations are given, at most {LOCATIONS_MAX} are read")
    order = tuple(part.strip() for part in root.get("chooseby", "").split(",") if part.strip())
    return Locations(order or DEFAULT_ORDER, tuple(found))


def _by_attribute(left: list[Location], visitor: Visitor) -> list[Location]:
    for name, value in visitor.wanted:
        left = [each for each in left if each.attributes.get(name, "").lower() == value.lower()]
    return left


def _by_country(left: list[Location], visitor: Visitor) -> list[Location]:
    """Those of the visitor's country; for an unknown or other country those that name none."""
    own = [each for each in left if each.attributes.get("country", "").lower() == (visitor.country or "-").lower()]
    return own or [each for each in left if "country" not in each.attributes] or left


def _by_score(left: list[Location], visitor: Visitor) -> list[Location]:
    best = max(each.number("score", 0.0) for each in left)
    return [each for each in left if each.number("score", 0.0) == best]


def _by_weight(left: list[Location], visitor: Visitor) -> list[Location]:
    """One, drawn by weight; a weight of 0 means only when nothing else is left."""
    weights = [max(0.0, each.number("weight", 1.0)) for each in left]
    at = visitor.uniform() * (sum(weights) or len(left))
    for each, weight in zip(left, weights if any(weights) else [1.0] * len(left), strict=True):
        if at < weight:
            return [each]
        at -= weight
    return left[-1:]


_FILTERS: Final[dict[str, Callable[[list[Location], Visitor], list[Location]]]] = {
    "locatt": _by_attribute,
    "country": _by_country,
    "score": _by_score,
    "weighted": _by_weight,
}
"""``address`` is no filter here: on a laptop every visitor has the same one. Unknown names are passed over."""


def choose(locations: Locations, visitor: Visitor) -> Location | None:
    """The location for a visitor, None when there is none that fits what the visitor names."""
    left = list(locations.locations)
    if visitor.wanted and "locatt" not in locations.order:
        left = _by_attribute(left, visitor)
    for name in locations.order:
        if not left:
            return None
        chosen = _FILTERS.get(name)
        if chosen is not None:
            left = chosen(left, visitor)
    return left[0] if left else None
