"""Which names a receiver wants: those that hash to its position in its own site (docs/protocol.md §6, §10)."""

from __future__ import annotations

from dataclasses import dataclass

from idnode_protocol.errors import Malformed
from idnode_protocol.limits import SERVERS_PER_SITE_MAX
from idnode_protocol.requests import DumpRequest, RetrieveLogRequest
from idnode_protocol.site_hash import server_position
from idnode_protocol.values.site import HashOption


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver's hash option, how many servers its site has, and its own position among them, from 0."""

    option: int = HashOption.WHOLE
    servers: int = 1
    position: int = 0

    @classmethod
    def of(cls, request: RetrieveLogRequest | DumpRequest) -> Receiver:
        """Raises :class:`Malformed` for a site that cannot be."""
        option, servers, position = request.hash_type, request.servers, request.server_number
        if option not in (HashOption.PREFIX, HashOption.SUFFIX, HashOption.WHOLE):
            raise Malformed(f"hash option {option} of the receiver; known are 0, 1 and 2")
        if not 1 <= servers <= SERVERS_PER_SITE_MAX or not 0 <= position < servers:
            raise Malformed(f"server {position} of {servers}: the receiver's position is 0 to servers - 1")
        return cls(option, servers, position)

    def takes(self, name: bytes) -> bool:
        """Whether the receiver answers for a handle."""
        return self.servers == 1 or server_position(name, self.option, self.servers) == self.position
