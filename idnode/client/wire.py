"""How a message becomes octets and comes back: in clear here, with MACs and encryption in :mod:`.session`."""

from __future__ import annotations

from typing import Final, Protocol

from idnode_protocol.message import Message, decode_message


class Wire(Protocol):
    """The form in which messages travel."""

    def to_octets(self, message: Message) -> bytes:
        """The octets to send; asked anew for each way a request is tried."""
        ...

    def from_octets(self, octets: bytes) -> Message:
        """The message received, in clear; raises :class:`idnode_protocol.errors.ProtocolError`, or a client error."""
        ...


class ClearWire:
    """Messages as they are."""

    def to_octets(self, message: Message) -> bytes:
        return message.to_octets()

    def from_octets(self, octets: bytes) -> Message:
        return decode_message(octets)


CLEAR: Final[Wire] = ClearWire()
