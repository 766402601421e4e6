"""What a country consists of: the model of a topology file, TOML or JSON (docs/topology.md).

Who delegates to whom is not written down, it follows from the prefixes: the record of ``0.NA/99.900.1001`` belongs to
the node that holds the longest prefix above it, or to the root.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Role = Literal["root", "top", "secondary", "enterprise", "recursive"]
Trusting = Literal["off", "report", "require"]
NODES_MAX: Final = 1_000
PREFIXES_PER_NODE_MAX: Final = 1_000
RECORDS_PER_NODE_MAX: Final = 100_000
FILE_OCTETS_MAX: Final = 4 * 1024 * 1024
DAY_S: Final = 86_400
RESERVED: Final = "0."
"""Prefixes that begin so belong to the global name space and are the root's own."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="letters, digits, . _ -")]
Prefix = Annotated[str, Field(pattern=r"^[^/\s.*][^/\s.]*(\.[^/\s.]+)*$", max_length=255, description="such as 99.900")]
Port = Annotated[int, Field(ge=0, le=65_535)]


class TopologyWrong(ValueError):
    """A topology cannot be used; the message names the place and what to change."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeSpec(_Model):
    """One node. A port that is not given is chosen by `up`; 0 = a free one."""

    name: Name
    role: Role
    prefixes: tuple[Prefix, ...] = Field(default=(), max_length=PREFIXES_PER_NODE_MAX)
    description: str = Field(default="", max_length=200)
    industry: str = Field(default="", max_length=40)
    records: int = Field(default=0, ge=0, le=RECORDS_PER_NODE_MAX, description="seeded records, over all prefixes")
    port: Port | None = Field(default=None, description="UDP and TCP")
    http_port: Port | None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.role in ("root", "recursive") and self.prefixes:
            raise ValueError(f"{self.name}: a {self.role} node holds no prefixes of its own")
        if self.records and not self.prefixes:
            raise ValueError(f"{self.name}: records need a prefix to lie under")
        for prefix in self.prefixes:
            if prefix.startswith(RESERVED) or prefix == "0":
                raise ValueError(f"{self.name}: {prefix} belongs to the root; prefixes do not begin with 0.")
        return self


class Topology(_Model):
    """A country."""

    name: Name
    description: str = Field(default="", max_length=500)
    seed: int = Field(default=1, ge=0, description="draws keys and records: the same seed, the same country")
    delegation_ttl_s: int = Field(default=DAY_S, ge=0, le=2 * DAY_S, description="TTL of delegation records, seconds")
    trust: Trusting = Field(default="off", description="holders sign, recursive nodes report or require signatures")
    nodes: tuple[NodeSpec, ...] = Field(min_length=1, max_length=NODES_MAX)

    @model_validator(mode="after")
    def _is_a_tree(self) -> Self:
        roots = [node.name for node in self.nodes if node.role == "root"]
        if len(roots) != 1:
            raise ValueError(f"a country has one node of role root, this one has {len(roots)}")
        for what, found in (
            ("node name", Counter(node.name for node in self.nodes)),
            ("prefix", Counter(prefix.upper() for node in self.nodes for prefix in node.prefixes)),
        ):
            twice = [text for text, count in found.items() if count > 1]
            if twice:
                raise ValueError(f"{what} {twice[0]} stands twice; each belongs to one node")
        return self

    @property
    def root(self) -> NodeSpec:
        return next(node for node in self.nodes if node.role == "root")

    @property
    def demo(self) -> NodeSpec:
        """The node shown first to people: the first secondary node, else the first with a prefix, else the root."""
        holders = [node for node in self.nodes if node.role == "secondary"] or [n for n in self.nodes if n.prefixes]
        return (holders or [self.root])[0]

    def node(self, name: str) -> NodeSpec:
        """Raises :class:`TopologyWrong`."""
        found = next((node for node in self.nodes if node.name == name), None)
        if found is None:
            raise TopologyWrong(f"there is no node {name!r}; there are {_some(node.name for node in self.nodes)}")
        return found

    def holder(self, prefix: str) -> NodeSpec | None:
        """The node that holds exactly this prefix."""
        wanted = prefix.upper()
        return next((node for node in self.nodes if wanted in (held.upper() for held in node.prefixes)), None)

    def parent(self, prefix: str) -> NodeSpec:
        """The node whose records delegate ``prefix``: of the longest prefix above it, or the root."""
        above = prefix.rpartition(".")[0]
        while above:
            holder = self.holder(above)
            if holder is not None:
                return holder
            above = above.rpartition(".")[0]
        return self.root

    def delegated_below(self, prefix: str) -> list[str]:
        """The prefixes of other nodes, or of the same, whose delegation record lies with the holder of ``prefix``."""
        start = prefix.upper() + "."
        below = (each for node in self.nodes for each in node.prefixes if each.upper().startswith(start))
        return [each for each in below if self.nearest_held(each) == prefix.upper()]

    def nearest_held(self, prefix: str) -> str:
        """The longest prefix above that somebody holds, in upper case; empty = none but the root's."""
        above = prefix.upper().rpartition(".")[0]
        while above and self.holder(above) is None:
            above = above.rpartition(".")[0]
        return above

    def with_node(self, spec: NodeSpec) -> Topology:
        """With one node more; raises :class:`TopologyWrong`."""
        return self._with((*self.nodes, spec))

    def without(self, name: str) -> Topology:
        """With one node less; raises :class:`TopologyWrong`."""
        gone = self.node(name)
        return self._with(tuple(node for node in self.nodes if node is not gone))

    def with_prefixes(self, name: str, prefixes: Sequence[str]) -> Topology:
        """With a node holding exactly ``prefixes``; raises :class:`TopologyWrong`."""
        changed = self.node(name)
        return self._with(tuple(_holding(node, prefixes) if node is changed else node for node in self.nodes))

    def moved(self, prefix: str, to: str) -> Topology:
        """With ``prefix`` at another node; raises :class:`TopologyWrong`."""
        target, wanted = self.node(to), prefix.upper()
        nodes = []
        for node in self.nodes:
            kept = tuple(each for each in node.prefixes if each.upper() != wanted)
            prefixes = (*kept, prefix) if node is target else kept
            nodes.append(_holding(node, prefixes))
        return self._with(tuple(nodes))

    def _with(self, nodes: tuple[NodeSpec, ...]) -> Topology:
        return validated({**self.model_dump(), "nodes": [node.model_dump() for node in nodes]}, self.name)


def _holding(node: NodeSpec, prefixes: Sequence[str]) -> NodeSpec:
    """The node with other prefixes; without any there is nothing for seeded records to lie under."""
    return node.model_copy(update={"prefixes": tuple(prefixes), "records": node.records if prefixes else 0})


def _some(names: Iterator[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")


def validated(parsed: object, where: str) -> Topology:
    """The topology in a parsed file; raises :class:`TopologyWrong`."""
    try:
        return Topology.model_validate(parsed)
    except ValidationError as wrong:
        raise TopologyWrong(f"{where}: {first_complaint(wrong)}") from wrong


def first_complaint(wrong: ValidationError) -> str:
    """Place and text of the first of pydantic's complaints."""
    first = wrong.errors()[0]
    place = ".".join(map(str, first["loc"]))
    text = first["msg"].removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


def parse_topology(octets: bytes, where: str) -> Topology:
    """A topology file: JSON when it begins with ``{``, else TOML. Raises :class:`TopologyWrong`."""
    if len(octets) > FILE_OCTETS_MAX:
        raise TopologyWrong(f"{where} has {len(octets)} octets; a topology has at most {FILE_OCTETS_MAX}")
    try:
        text = octets.decode("utf-8")
        parsed = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise TopologyWrong(f"{where} is neither TOML nor JSON: {wrong}") from wrong
    return validated(parsed, where)
