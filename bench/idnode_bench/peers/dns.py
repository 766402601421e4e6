"""NSD and Knot DNS as peers: what a server whose authors count instructions does with one look-up by name.

Both serve one zone of ``count`` A records, one process or one worker, everything but the answer left out. Names begin
with ``b0000000.bench.example.``; the address of number n is 10.x.y.z, n in the last 24 bits (RFC 1035 §3.3, §3.4.1).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Literal

from idnode.adapters.disk import Disk
from idnode_bench.errors import PeerMissing
from idnode_bench.peers.processes import peer_process
from idnode_bench.population.factory import Record
from idnode_bench.population.files import wire_head, wire_row
from idnode_bench.targets.servers import HOST, Served

DnsPeer = Literal["nsd", "knot"]
ZONE: Final = "bench.example"
COUNT_MAX: Final = 1 << 24
_PROGRAMS: Final = {"nsd": "nsd", "knot": "knotd"}
_CONFIGURATIONS: Final = {
    "nsd": """\
server:
  ip-address: {address}@{port}
  server-count: 1
  do-ip6: no
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  minimal-responses: yes
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: {zone}.zone
""",
    "knot": """\
server:
  rundir: "{folder}"
  listen: {address}@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{folder}"
control:
  listen: "{folder}/knot.sock"
template:
  - id: default
    storage: "{folder}"
    zonefile-sync: -1
    journal-content: none
zone:
  - domain: {zone}
    file: {zone}.zone
""",
}


def dns_peer(
    disk: Disk, name: DnsPeer, count: int, folder: Path, port: int, core: int | None
) -> AbstractContextManager[Served]:
    """The server over ``count`` names, its files in ``folder`` (new). Raises :class:`PeerMissing`, TargetFailed."""
    if not 0 < count <= COUNT_MAX:
        raise PeerMissing(f"a zone holds 1 to {COUNT_MAX} names, not {count}")
    program = shutil.which(_PROGRAMS[name]) or shutil.which(_PROGRAMS[name], path="/usr/sbin:/sbin")
    if program is None:
        raise PeerMissing(f"{_PROGRAMS[name]} is not installed; on Debian: apt-get install {name}")
    folder.mkdir()
    facts = {"address": HOST, "port": port, "folder": folder, "zone": ZONE}
    disk.write_atomic(folder / "conf", _CONFIGURATIONS[name].format(**facts).encode())
    disk.write_atomic(folder / f"{ZONE}.zone", b"".join(_zone(count)))
    command = [program, "-d", "-c", str(folder / "conf")] if name == "nsd" else [program, "-c", str(folder / "conf")]
    return peer_process(disk, name, command, port, core)


def _zone(count: int) -> Iterator[bytes]:
    yield f"$ORIGIN {ZONE}.\n$TTL 86400\n@ SOA ns hostmaster 1 7200 3600 1209600 86400\n".encode()
    yield f"@ NS ns\nns A {HOST}\n".encode()
    for number in range(count):
        yield b"b%07d A 10.%d.%d.%d\n" % (number, number >> 16, number >> 8 & 255, number & 255)


def dns_rows(count: int) -> Iterator[bytes]:
    """What the generator asks the zone for: a population file of names as on the wire and their addresses."""
    yield wire_head(count)
    zone = b"".join(bytes([len(label)]) + label.encode() for label in (*ZONE.split("."), ""))
    for number in range(count):
        yield wire_row(Record(b"\x08b%07d%s" % (number, zone), bytes([10]) + number.to_bytes(3, "big")))
