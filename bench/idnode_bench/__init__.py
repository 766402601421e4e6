"""Load, measure, compare: the harness that measures a node beside its peers on the same machine.

Start reading in :mod:`idnode_bench.resolve`. May import everything below; nothing below imports it.
"""

from __future__ import annotations

__all__: list[str] = []
