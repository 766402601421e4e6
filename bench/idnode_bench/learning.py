"""A server that holds no population of ours: its answers to a list of handles are learnt, then compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode_bench.errors import BenchError, NoAnswer
from idnode_bench.lanes import run_async
from idnode_bench.load.engine import Request
from idnode_bench.load.recorder import RIGHT
from idnode_bench.machine import read_text
from idnode_bench.population.factory import Record
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.datagrams import UdpPort
from idnode_bench.targets.native import Dialogue, ListedRecords, learn
from idnode_bench.targets.streams import TcpPort

HANDLES_MAX: Final = 1_000_000
_BATCH: Final = 32
_TRIES: Final = 3
_WITHIN_S: Final = 2.0


class _Learning(Dialogue):
    """Takes every record for what the answer says."""

    def __init__(self, handles: list[bytes]) -> None:
        super().__init__(ListedRecords(tuple(Record(handle, b"") for handle in handles)))
        self.learnt: dict[int, Record] = {}
        self.refused: NoAnswer | None = None

    def outcome(self, key: int, reply: bytes) -> str:
        try:
            self.learnt[key] = learn(self.source.handle(key), reply)
        except NoAnswer as wrong:
            self.refused = wrong
        return RIGHT


def learnt(adapters: Adapters, target: Target, file: Path) -> ListedRecords:
    """The records of the handles in a file (one a line), as the target answers now. Raises :class:`BenchError`."""
    text = read_text(adapters.disk, file)
    if text is None:
        raise BenchError(f"{file} cannot be read")
    handles = list(dict.fromkeys(line.strip().encode() for line in text.splitlines() if line.strip()))
    if not 0 < len(handles) <= HANDLES_MAX:
        raise BenchError(f"{file} holds {len(handles)} handles; 1 to {HANDLES_MAX:,} can be asked for")
    if target.transport not in ("udp", "tcp"):
        raise BenchError("answers are learnt by udp or tcp: give the target so")
    dialogue = _Learning(handles)
    run_async(lambda: _ask_all(adapters, target, dialogue))
    return ListedRecords(tuple(dialogue.learnt[number] for number in range(len(handles))))


async def _ask_all(adapters: Adapters, target: Target, dialogue: _Learning) -> None:
    port: UdpPort | TcpPort
    if target.transport == "udp":
        port = UdpPort(adapters.net, target, dialogue)
    else:
        port = TcpPort(adapters.net, adapters.clock, target, dialogue, 1)
    clock = adapters.clock
    await port.open(lambda _request, _outcome, *, answered=True: None)
    try:
        for start in range(0, dialogue.source.count, _BATCH):
            wanted = range(start, min(start + _BATCH, dialogue.source.count))
            for _ in range(_TRIES):
                missing = [key for key in wanted if key not in dialogue.learnt]
                port.send([Request("resolve", key, 0.0, 0.0) for key in missing])
                until = clock.monotonic() + _WITHIN_S
                while any(key not in dialogue.learnt for key in wanted) and clock.monotonic() < until:
                    await clock.sleep(0.002)
                    if dialogue.refused is not None:
                        raise dialogue.refused
            lost = next((key for key in wanted if key not in dialogue.learnt), None)
            if lost is not None:
                raise NoAnswer(f"{target}: no record for {dialogue.source.handle(lost).decode('utf-8', 'replace')}")
    finally:
        await port.close()
