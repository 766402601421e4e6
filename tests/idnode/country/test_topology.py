"""Topology files: what they may say, whose record lies where, and what each mistake is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idnode.adapters import real_adapters
from idnode.country.keys import KEYS, drawn_key, is_test_key, pool, refuse_test_key
from idnode.country.population import PRODUCTS, population
from idnode.country.shipped import SHIPPED, find_topology, shipped_topology
from idnode.country.topology import Topology, TopologyWrong, parse_topology
from idnode_registry.crypto import KeyRefused, Signer

ROOT = {"name": "root", "role": "root"}
TOP = {"name": "top", "role": "top", "prefixes": ["99"]}
TOML = """
name = "two"
[[nodes]]
name = "root"
role = "root"
[[nodes]]
name = "top"
role = "top"
prefixes = ["99"]
"""


def topology(*nodes: dict[str, object], **more: object) -> Topology:
    return parse_topology(json.dumps({"name": "t", "nodes": list(nodes), **more}).encode(), "t")


def test_toml_and_json_say_the_same() -> None:
    from_json = parse_topology(json.dumps({"name": "two", "nodes": [ROOT, TOP]}).encode(), "x")
    assert parse_topology(TOML.encode(), "x") == from_json


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ([TOP], "one node of role root, this one has 0"),
        ([ROOT, {**ROOT, "name": "other"}], "one node of role root, this one has 2"),
        ([ROOT, TOP, {**TOP, "prefixes": ["98"]}], "node name top stands twice"),
        ([ROOT, TOP, {**TOP, "name": "b"}], "prefix 99 stands twice"),
        ([ROOT, {**TOP, "prefixes": ["0.NA"]}], "prefixes do not begin with 0"),
        ([{**ROOT, "prefixes": ["99"]}], "a root node holds no prefixes"),
        ([ROOT, {"name": "r", "role": "recursive", "prefixes": ["99"]}], "a recursive node holds no prefixes"),
        ([ROOT, {**TOP, "prefixes": ["99/x"]}], "nodes.1.prefixes.0"),
        ([ROOT, {**TOP, "name": "../x"}], "nodes.1.name"),
        ([ROOT, {**TOP, "role": "king"}], "nodes.1.role"),
        ([ROOT, {**TOP, "colour": "red"}], "nodes.1.colour"),
        ([ROOT, {"name": "e", "role": "enterprise", "records": 1}], "records need a prefix"),
        ([], "nodes"),
    ],
)
def test_mistakes_are_named(nodes: list[dict[str, object]], complaint: str) -> None:
    with pytest.raises(TopologyWrong) as raised:
        topology(*nodes)
    assert complaint in str(raised.value)


@pytest.mark.parametrize("octets", [b"name = ", b"{", b"\xff", b"[" * 100_000, b"x" * (5 * 1024 * 1024)])
def test_no_topology_at_all(octets: bytes) -> None:
    with pytest.raises(TopologyWrong, match="here"):
        parse_topology(octets, "here")


def test_delegation_follows_from_the_prefixes() -> None:
    made = shipped_topology("minimal")
    parents = {prefix: made.parent(prefix).name for prefix in ("99", "99.900", "99.900.1001", "99.7.1", "21.T1")}
    expected = {"99": "root", "99.900": "top", "99.900.1001": "demo", "99.7.1": "top", "21.T1": "root"}
    assert parents == expected
    assert made.delegated_below("99") == ["99.900"]
    assert made.delegated_below("99.900") == ["99.900.1001"]
    moved = made.moved("99.900.1001", "top")
    assert moved.parent("99.900.1001").name == "demo"
    assert moved.node("enterprise").prefixes == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped(name: str) -> None:
    made = shipped_topology(name)
    roles = [node.role for node in made.nodes]
    assert {"root", "top", "secondary", "enterprise", "recursive"} == set(roles)
    assert made.demo.prefixes == ("99.900",)
    assert all(prefix == "99" or prefix.startswith("99.") for node in made.nodes for prefix in node.prefixes)


def test_jinan_is_a_city() -> None:
    made = shipped_topology("jinan-2025")
    secondaries = [node for node in made.nodes if node.role == "secondary"]
    assert len(secondaries) == 20
    assert len(made.nodes) >= 80
    enterprises = [node for node in made.nodes if node.role == "enterprise"]
    below = [[e for e in enterprises if e.prefixes[0].startswith(f"{s.prefixes[0]}.")] for s in secondaries]
    assert all(len(each) >= 3 for each in below)
    assert all(enterprise.records for each in below for enterprise in each)
    assert {node.industry for node in secondaries} == set(PRODUCTS)


def test_unknown_names_and_files(tmp_path: Path) -> None:
    disk = real_adapters().disk
    (tmp_path / "c.toml").write_text(TOML)
    assert find_topology(disk, str(tmp_path / "c.toml")).name == "two"
    with pytest.raises(TopologyWrong, match="minimal, jinan-2025"):
        find_topology(disk, str(tmp_path / "nothing.toml"))
    with pytest.raises(TopologyWrong, match="minimal, jinan-2025"):
        shipped_topology("nothing")


def test_population_is_drawn_by_the_seed() -> None:
    one = list(population(1, "99.900.1", "steel", 5))
    assert one == list(population(1, "99.900.1", "steel", 5))
    assert one != list(population(2, "99.900.1", "steel", 5))
    assert len({handle for handle, _ in one}) == 5
    assert all(value.data.decode() for _, values in one for value in values)


def test_keys_are_drawn_by_the_seed_and_stay_on_loopback() -> None:
    assert len({signer.public_key_octets for signer in pool()}) == KEYS
    assert [drawn_key(1, n) for n in range(KEYS)] == [drawn_key(1, n) for n in range(KEYS)]
    assert len({drawn_key(1, n).public_key_octets for n in range(KEYS)}) == KEYS
    assert [drawn_key(1, n) for n in range(KEYS)] != [drawn_key(2, n) for n in range(KEYS)]
    assert is_test_key(drawn_key(7, 3).public_key_octets)
    refuse_test_key(drawn_key(1, 0), ["127.0.0.1", "127.9.9.9", "::1"])
    for exposed in ("0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"):
        with pytest.raises(KeyRefused, match="public test keys"):
            refuse_test_key(drawn_key(1, 0), ["127.0.0.1", exposed])
    own = Signer.generate(1_024)
    assert not is_test_key(own.public_key_octets)
    refuse_test_key(own, ["0.0.0.0"])
