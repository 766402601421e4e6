"""Every error of the protocol floor. One root; the subclass says whose fault it is and what may be done."""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of all errors of this floor; never raised itself."""


class RemoteError(ProtocolError):
    """The peer sent octets that break the protocol; the message cannot be used. Root of the peer's faults."""


class Malformed(RemoteError):
    """The octets do not follow the layout; nothing after ``offset`` (octets from the start) was understood."""

    def __init__(self, reason: str, offset: int = -1) -> None:
        self.reason = reason
        self.offset = offset
        super().__init__(reason if offset < 0 else f"{reason} (at octet {offset})")


class Truncated(Malformed):
    """The octets end before a field that the layout demands."""


class LimitExceeded(RemoteError):
    """The peer declares or sends more than a bound of :mod:`idnode_protocol.limits` allows."""


class Unsupported(RemoteError):
    """Well-formed, but an operation, version or algorithm that this implementation does not offer."""


class LocalError(ProtocolError):
    """Our own caller asked for something the protocol cannot carry; nothing was sent. Root of our faults."""


class NotEncodable(LocalError):
    """A field's value does not fit into its place on the wire; correct the value named in the message."""


class InvalidText(LocalError):
    """A text or JSON form given by a user cannot be understood; the message names the member and what is allowed."""
