"""What the processes of a node are told and tell: everything in it can be pickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idnode.config import NodeConfig

REGISTRY_DOOR = "registry"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node of several processes. ``config`` has ports that are known and ``workers`` 1, as each process is one.

    ``folder`` holds what they share while the node runs: a Unix socket per process, and the ring.
    """

    config: NodeConfig
    key_file: Path
    folder: Path
    resolvers: int

    @property
    def ring(self) -> Path:
        return self.folder / "ring"

    def door(self, process: str) -> str:
        """The Unix socket of ``registry``, or of a resolver by its number."""
        return str(self.folder / process)

    def doors_beside(self, process: str) -> list[str]:
        """Those of all other processes."""
        names = [REGISTRY_DOOR, *map(str, range(self.resolvers))]
        return [self.door(name) for name in names if name != process]


@dataclass(frozen=True, slots=True)
class Ready:
    """The process answers."""

    prefixes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The process cannot do its work; ``is_listening`` says that an address is the reason, else it is the store."""

    text: str
    is_listening: bool
