"""The wire protocol: octets to messages and back, without sockets, clocks or threads."""

from __future__ import annotations

__all__: list[str] = []
