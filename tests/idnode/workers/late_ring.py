"""A defect on purpose: the ring is told a little after the acknowledgement. The campaign must find it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from idnode.workers.nodes import RegistryNode

LATE_S = 0.01
_tell = RegistryNode._tell


def _tell_late(self: RegistryNode, changed: Sequence[tuple[bytes, bytes]]) -> None:
    threading.Timer(LATE_S, _tell, (self, list(changed))).start()


RegistryNode._tell = _tell_late  # type: ignore[method-assign]
