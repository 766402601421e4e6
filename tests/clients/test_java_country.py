"""The unmodified Java client in a country: it walks down from the root by itself, or asks the recursive node.

Who was asked is told by the nodes' own counters, so a client that found a shorter way fails.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.java_client import Answer, JavaClient, started_client
from tests.clients.node_process import Counters, RunningNode, started_nodes
from tests.clients.test_java_matrix import digest
from tests.clients.test_pyhandle import owned_by, put

LEVELS = {"99/java": "top", "99.900/java": "secondary", "99.900.1001/java": "enterprise"}
"""Name -> role of the node that holds it."""
WAYS = {"99/java": ["root"], "99.900/java": ["root", "top"], "99.900.1001/java": ["root", "top", "secondary"]}
"""Name -> roles of the nodes that are asked for its prefix, in order."""
REQUESTS = "hdl_requests_total"
URL = "https://example.org/java"


@pytest.fixture(scope="module")
def country() -> Iterator[dict[str, RunningNode]]:
    """A running country with one record at every level."""
    with started_nodes() as listed:
        nodes = {str(node.description["role"]): node for node in listed}
        for name, role in LEVELS.items():
            node = nodes[role]
            user = f"{node.admin['index']}:{node.admin['handle']}"
            values = [{"index": 1, "type": "URL", "data": URL}, owned_by(node.admin["handle"], "1" * 12)]
            put(node, name, values, user, str(node.admin["secret"]))
        yield nodes


def client_of(node: RunningNode, class_path: str, folder: Path) -> Iterator[JavaClient]:
    with started_client(class_path, node.client_config, folder / "stderr") as client:
        yield client


@pytest.fixture(scope="module")
def walker(
    country: dict[str, RunningNode], java_class_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JavaClient]:
    """A client that was told of the root and of nobody else."""
    yield from client_of(country["root"], java_class_path, tmp_path_factory.mktemp("walker"))


@pytest.fixture(scope="module")
def asker(
    country: dict[str, RunningNode], java_class_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JavaClient]:
    """A client that was told to ask the recursive node."""
    yield from client_of(country["recursive"], java_class_path, tmp_path_factory.mktemp("asker"))


def counted(country: dict[str, RunningNode]) -> dict[str, Counters]:
    return {role: node.counters() for role, node in country.items()}


def resolved(before: dict[str, Counters], after: dict[str, Counters], transport: str) -> dict[str, dict[str, int]]:
    """Role -> response code -> resolutions answered by that transport between the two moments."""
    found = {}
    for role, later in after.items():
        delta = later - before[role]
        codes = {
            code: delta.total("hdl_requests_total", op="1", transport=transport, code=code) for code in ("1", "303")
        }
        found[role] = {code: count for code, count in codes.items() if count}
    return found


def resolve(client: JavaClient, name: str, transport: str) -> Answer:
    return client.ask(op="resolve", via="resolver", transport=transport, credential="none", session="off", handle=name)


@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
@pytest.mark.parametrize("name", LEVELS)
def test_walks_through_all_levels(
    name: str, transport: str, walker: JavaClient, country: dict[str, RunningNode]
) -> None:
    before = counted(country)
    answer = walker.ask(
        op="resolve", via="resolver", transport=transport, credential="none", session="off", handle=name
    )
    asked = resolved(before, counted(country), transport)
    assert answer.code == 1, answer
    assert [value["sha256"] for value in answer.values if value["type"] == "URL"] == [digest(URL)], answer
    *referring, last = WAYS[name]
    for role in referring:
        assert asked[role] == {"303": 1}, (role, asked)
    assert asked[last]["1"] >= 1, asked  # the record of the prefix
    assert asked[LEVELS[name]]["1"] >= 1, asked
    assert asked["recursive"] == {}, asked


@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
@pytest.mark.parametrize("name", LEVELS)
def test_asks_the_recursive_node(name: str, transport: str, asker: JavaClient, country: dict[str, RunningNode]) -> None:
    before = counted(country)
    answer = resolve(asker, name, transport)
    asked = resolved(before, counted(country), transport)
    assert answer.code == 1, answer
    assert [value["sha256"] for value in answer.values if value["type"] == "URL"] == [digest(URL)], answer
    assert asked["recursive"]["1"] >= 1, asked


def test_what_is_not_there_is_not_found_by_either(walker: JavaClient, asker: JavaClient) -> None:
    for client in (walker, asker):
        answer = resolve(client, "99.900.1001/none", "default")
        assert answer.code == 100, answer


def test_who_is_who(country: dict[str, RunningNode]) -> None:
    """The control: the counters above are those of five different nodes."""
    assert len({node.http for node in country.values()}) == 5
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{country['root'].http}/admin/country", timeout=10) as answer:
        nodes = json.loads(answer.read())["nodes"]
    assert {node["role"]: node["http"] for node in nodes} == {role: node.http for role, node in country.items()}
