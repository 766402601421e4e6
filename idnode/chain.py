"""The server is a visible, ordered list of links (architecture: docs/architecture.md).

Each link is a small class with one signature; it calls ``following`` or answers itself, and never knows who is above.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from idnode.exchange import Exchange
from idnode_registry.ask import Reply

Handler = Callable[[Exchange], Awaitable[Reply]]


class Link(Protocol):
    """One step of the way from a request to its reply."""

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply: ...


async def _nobody_answered(exchange: Exchange) -> Reply:
    raise AssertionError("the last link of the chain did not answer")


def _bind(link: Link, following: Handler) -> Handler:
    async def handle(exchange: Exchange) -> Reply:
        return await link(exchange, following)

    return handle


def build_chain(links: Sequence[Link]) -> Handler:
    """One handler out of the links, first link first."""
    handler: Handler = _nobody_answered
    for link in reversed(links):
        handler = _bind(link, handler)
    return handler
