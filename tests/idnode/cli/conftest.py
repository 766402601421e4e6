"""One node, as ``idnode up`` starts it, for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.node_process import RunningNode, started_node
from tests.idnode.cli.command_line import environment


@pytest.fixture(scope="session")
def demo() -> Iterator[RunningNode]:
    with started_node(env=environment()) as node:
        yield node
