"""A process that registers ranges and changes their members until it is killed: a line before and after each operation.

::

    python range_writer.py FOLDER SEED    -->    > ["delete", "SN17"]
                                                 < 1
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from idnode_protocol.codes import OpFlag
from idnode_protocol.value import HandleValue
from tests.registry.ranges.range_desk import PREFIX, RangeDesk, durable_store

RANGES = ("SN{00-29}", "SN{30-59}", "Sn{20-39}", "{0-9}.a")
NAMES = (*(f"sn{number:02}" for number in (0, 7, 25, 29, 35, 59)), "3.A", "9.a")
DATA = b"https://example.org/${serial}"


def carry_out(desk: RangeDesk, verb: str, name: str) -> int:
    """The code of one operation."""
    handle = PREFIX + b"/" + name.encode()
    if verb == "register":
        return desk.register(handle, HandleValue(1, "URL", DATA))[0]
    if verb == "unregister":
        return desk.unregister(handle)
    if verb == "delete":
        return desk.delete(handle)
    if verb == "add":
        return desk.add(handle, HandleValue(2, "DESC", b"more"))
    return desk.create(handle, HandleValue(3, "DESC", b"own"), flags=OpFlag.OWE)


def main() -> None:
    folder, dice = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    desk = RangeDesk(durable_store(folder))
    while True:
        verb = dice.choice(("register", "unregister", "delete", "delete", "add", "add", "create"))
        name = dice.choice(RANGES if verb in ("register", "unregister") else NAMES)
        print(">", json.dumps([verb, name]), flush=True)
        print("<", int(carry_out(desk, verb, name)), flush=True)


if __name__ == "__main__":
    main()
