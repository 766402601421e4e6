"""The place of a server among those of its site (docs/protocol.md §6): which names it is there for."""

from __future__ import annotations

from dataclasses import dataclass

from idnode_protocol.site_hash import server_position
from idnode_protocol.values.site import HashOption, SiteInfo


class NoSuchServer(ValueError):
    """The site record does not describe this server; the message says what to correct in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """``position`` is that of the server in the site record, whose order counts; ``server_id`` is only its label."""

    server_id: int
    position: int
    servers: int
    hash_option: int

    @classmethod
    def of(cls, site: SiteInfo, server_id: int) -> Place:
        """The place of the server labelled ``server_id``. Raises :class:`NoSuchServer`."""
        positions = [position for position, server in enumerate(site.servers) if server.server_id == server_id]
        if len(positions) != 1:
            found = "no server" if not positions else f"{len(positions)} servers"
            raise NoSuchServer(f"the site record has {found} with id {server_id}; give each server an id of its own")
        if site.hash_option not in set(HashOption):
            raise NoSuchServer(f"the site record has hash option {site.hash_option}; known are 0, 1 and 2")
        return cls(server_id, positions[0], len(site.servers), site.hash_option)

    def holds(self, name: bytes) -> bool:
        """Whether a name, a bare prefix turned into its prefix handle, hashes to this server."""
        return self.servers == 1 or server_position(name, self.hash_option, self.servers) == self.position

    def refusal_text(self, name: bytes) -> str:
        """For a client that chose the wrong server."""
        other = server_position(name, self.hash_option, self.servers)
        return (
            f"this name belongs to server {other + 1} of the {self.servers} of this site, this is server "
            f"{self.position + 1}; a bare prefix is asked for as 0.NA/<prefix>"
        )
