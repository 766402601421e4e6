"""Protocol versions and their order (docs/protocol.md §3.1, §4.4)."""

from __future__ import annotations

from typing import Final, NamedTuple


class Version(NamedTuple):
    """A protocol version such as 2.11. Compare with :func:`older`, not with ``<``: major 5 is older than everything."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


CURRENT: Final = Version(2, 11)
"""What this software announces and writes."""
FALLBACK: Final = Version(2, 3)
"""What a client writes when it knows nothing about the peer."""
V2_1: Final = Version(2, 1)
V2_5: Final = Version(2, 5)
V2_7: Final = Version(2, 7)
V2_8: Final = Version(2, 8)
V2_9: Final = Version(2, 9)
V2_10: Final = Version(2, 10)


def rank(version: Version) -> tuple[int, int]:
    """A sort key in which the ancient client that sent major 5 comes first."""
    return (0, 0) if version.major == 5 else (version.major, version.minor)


def older(a: Version, b: Version) -> bool:
    """Whether ``a`` is an older protocol than ``b``."""
    return rank(a) < rank(b)


def answered_version(message: Version, suggested: Version) -> Version:
    """The version a response is written in: min(the request's suggestion, 2.11).

    A sender that knows no suggestion (major 0) suggests its own version.
    """
    wanted = message if suggested.major == 0 else suggested
    return wanted if older(wanted, CURRENT) else CURRENT
