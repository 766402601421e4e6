"""What a country keeps on disk beside its stores: the topology as it has become, the nodes' numbers and ports.

::

    DIR/country.json              this state
    DIR/store, DIR/client, ...    the demo node, where it lay before there were countries
    DIR/nodes/NAME/store, ...     every other node
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idnode.adapters import Adapters
from idnode.country.topology import Topology, TopologyWrong, first_complaint

STATE_FILE: Final = "country.json"
STATE_VERSION: Final = 1


class Moved(BaseModel):
    """A prefix whose former holder still answers, until ``until`` (s since 1970)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str
    source: str
    target: str
    until: float


class _Kept(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=STATE_VERSION, le=STATE_VERSION)
    topology: Topology
    demo: str
    numbers: dict[str, int]
    ports: dict[str, tuple[int, int]]
    moved: list[Moved] = []
    leaving: list[str] = []
    administrators: dict[str, str] = {}


@dataclass(slots=True)
class State:
    """``numbers`` draw a node's keys and are never given twice; ``ports`` are (UDP and TCP, HTTP) of the last run."""

    topology: Topology
    demo: str
    numbers: dict[str, int] = field(default_factory=dict)
    ports: dict[str, tuple[int, int]] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    leaving: list[str] = field(default_factory=list)
    """Nodes that end when nobody can remember them any more."""
    administrators: dict[str, str] = field(default_factory=dict)
    """Node -> handle of its administrator: it stays the same whatever prefixes come and go."""

    def number(self, name: str) -> int:
        """The node's number, a new one if it has none."""
        if name not in self.numbers:
            self.numbers[name] = max(self.numbers.values(), default=-1) + 1
        return self.numbers[name]


class StateStore:
    """The state in the data folder; without a folder it lives in memory only."""

    def __init__(self, adapters: Adapters, data: Path | None) -> None:
        self._adapters = adapters
        self._path = None if data is None else data / STATE_FILE

    def load(self, wanted: Topology | None, default: Topology, demo_prefixes: Sequence[str] = ()) -> State:
        """What was kept, else a new state of ``wanted`` or ``default``. Raises :class:`TopologyWrong`.

        ``demo_prefixes`` take the place of the demo node's in a new state; to a kept one they are added.
        """
        if self._path is None or not self._adapters.disk.exists(self._path):
            topology = wanted or default
            if demo_prefixes:
                topology = topology.with_prefixes(topology.demo.name, demo_prefixes)
            return State(topology, topology.demo.name)
        try:
            kept = _Kept.model_validate_json(self._adapters.disk.read(self._path))
        except ValidationError as wrong:
            raise TopologyWrong(f"{self._path} cannot be used: {first_complaint(wrong)}") from wrong
        if wanted is not None and wanted.name != kept.topology.name:
            raise TopologyWrong(
                f"{self._path.parent} holds the country {kept.topology.name}, not {wanted.name}: "
                f"leave --topology out, or give another folder"
            )
        topology = kept.topology
        new = [prefix for prefix in demo_prefixes if topology.holder(prefix) is None]
        if new:
            topology = topology.with_prefixes(kept.demo, [*topology.node(kept.demo).prefixes, *new])
        return State(topology, kept.demo, kept.numbers, kept.ports, kept.moved, kept.leaving, kept.administrators)

    def save(self, state: State) -> None:
        """Keep the state, durably."""
        if self._path is not None:
            kept = {
                "version": STATE_VERSION,
                "topology": state.topology.model_dump(mode="json"),
                "demo": state.demo,
                "numbers": state.numbers,
                "ports": state.ports,
                "leaving": state.leaving,
                "administrators": state.administrators,
                "moved": [each.model_dump() for each in state.moved],
            }
            octets = json.dumps(kept, ensure_ascii=False, indent=1).encode("utf-8")
            self._adapters.disk.write_atomic(self._path, octets)
