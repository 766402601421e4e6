"""``idnode`` with a seeded defect: the UDP loop reads until the socket is empty and never gives way.

The overload test must fail against this one, or it would not notice if the node lost its manners.
"""

from __future__ import annotations

import math

from idnode.cli.main import main
from idnode.servers import udp

if __name__ == "__main__":
    udp.BATCHES_PER_WAKE_UP = 1 << 40  # type: ignore[misc]
    udp.TURN_S = math.inf  # type: ignore[misc]
    main()
