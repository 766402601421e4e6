"""The unmodified Java client in a country: it walks down from the root by itself, or asks the recursive node.

Who was asked is told by the nodes' own counters, so a client that found a shorter way fails.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
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


ENTERPRISE = "99.900.1001"
NAMESPACE = (
    "<namespace><template delimiter='@'><foreach><if value='type' expression='URL'><value data='${data}?part=$0'/></if>"
    "</foreach></template></namespace>"
)


def of_owner(node: RunningNode) -> tuple[str, str]:
    """index:handle and secret of the node's administrator."""
    return f"{node.admin['index']}:{node.admin['handle']}", str(node.admin["secret"])


@pytest.fixture(scope="module")
def country() -> Iterator[dict[str, RunningNode]]:
    """A running country with one record at every level, and a template for the enterprise's names at the secondary."""
    with started_nodes() as listed:
        nodes = {str(node.description["role"]): node for node in listed}
        for name, role in LEVELS.items():
            node = nodes[role]
            values = [{"index": 1, "type": "URL", "data": URL}, owned_by(node.admin["handle"], "1" * 12)]
            put(node, name, values, *of_owner(node))
        namespace = [{"index": 50, "type": "HS_NAMESPACE", "data": NAMESPACE}]
        put(nodes["secondary"], f"0.NA/{ENTERPRISE}?index=50", namespace, *of_owner(nodes["secondary"]))
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


def test_the_binary_local_info(country: dict[str, RunningNode], java_class_path: str, tmp_path: Path) -> None:
    """Without its JSON form it leads straight to the secondary for that node's prefix. (``root_info`` is for older
    clients: without ``bootstrap_handles`` this one begins at the global root.)"""
    folder = tmp_path / "client"
    shutil.copytree(country["secondary"].client_config, folder)
    (folder / "local_info.json").unlink()
    before = counted(country)
    with started_client(java_class_path, folder, tmp_path / "stderr") as client:
        assert resolve(client, "99.900/java", "udp").code == 1
    asked = resolved(before, counted(country), "udp")
    assert (asked["root"], asked["secondary"]) == ({}, {"1": 1}), asked


# --- what one node decides by records of another ---------------------------------------------------------------------


def test_a_template_of_the_node_above(country: dict[str, RunningNode], walker: JavaClient, asker: JavaClient) -> None:
    """The prefix handle and its HS_NAMESPACE are the secondary node's; the base and the answer are the enterprise's."""
    made = f"{ENTERPRISE}/java@bolt-7"
    for client in (walker, asker):
        answer = resolve(client, made, "udp")
        assert answer.code == 1, answer
        assert [value["sha256"] for value in answer.values] == [digest(f"{URL}?part=bolt-7")], answer
    assert resolve(walker, f"{ENTERPRISE}/no-base@bolt-7", "udp").code == 200


@pytest.mark.parametrize("session", ["on", "off"])
@pytest.mark.parametrize(("credential", "owner_index"), [("secret", 300), ("rsa", 301), ("secret", 200), ("rsa", 200)])
def test_a_key_of_another_node_administers(
    credential: str, owner_index: int, session: str, country: dict[str, RunningNode], walker: JavaClient
) -> None:
    """Keys and group (200, HS_VLIST) of 0.ADMIN/ADMIN are the root's; the record is the enterprise's."""
    owner, enterprise = country["root"].admin["handle"], country["enterprise"]
    name = f"{ENTERPRISE}/{credential}-{owner_index}-{session}"
    rights = {"handle": owner, "index": owner_index, "permissions": "1" * 12}
    values = [
        {"index": 1, "type": "URL", "data": URL},
        {"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": rights}},
    ]
    put(enterprise, name, values, *of_owner(enterprise))
    changed = [{"index": 1, "type": "URL", "data": f"{URL}/changed"}]
    before = country["root"].counters()
    modify = {"op": "modify", "via": "resolver", "transport": "tcp", "session": session, "handle": name}
    assert walker.ask(**modify, credential=f"wrong-{credential}", values=changed).code == 403
    answer = walker.ask(**modify, credential=credential, values=changed)
    assert answer.code == 1, answer
    found = resolve(walker, name, "udp").values
    assert digest(f"{URL}/changed") in [value["sha256"] for value in found], found
    if credential == "secret":
        asked = country["root"].counters() - before
        assert asked.total(REQUESTS, op="201", code="1") >= 1, "the root judges; an open session was judged before"


def test_over_http_too(country: dict[str, RunningNode]) -> None:
    """Basic authentication at the enterprise with the secret of the secondary's administrator."""
    secondary, enterprise = country["secondary"], country["enterprise"]
    name = f"{ENTERPRISE}/rest"
    values = [{"index": 1, "type": "URL", "data": URL}, owned_by(secondary.admin["handle"], "1" * 12)]
    put(enterprise, name, values, *of_owner(enterprise))
    changed = [{"index": 1, "type": "URL", "data": f"{URL}/changed"}]
    user, secret = of_owner(secondary)
    with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
        put(enterprise, f"{name}?index=1", changed, user, "guessed")
    put(enterprise, f"{name}?index=1", changed, user, secret)
