"""The UDP listener: a readable socket is drained in batches, and all answers of a batch leave together.

For the request that is nearly all traffic a datagram costs one dictionary look-up and one join: no object, no coroutine
(:mod:`idnode.answer_cache` says why that is safe). Everything else is handed to the engine in a task of its own.

A datagram's sender is whoever it says it is. Sources that are not trusted get one datagram back, never more, and a
budget in octets; what does not fit is answered with code 2, upon which a client asks by TCP (RFC 3652 leaves it open;
the reference sends up to 533 datagrams to anybody). A message that is itself a response is dropped, and so is anything
from a service port of ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from idnode.adapters.net import BATCH, Datagram, UdpSocket
from idnode.adapters.peers import peer_address
from idnode.adapters.workers import RunBlocking
from idnode.answer_cache import AnswerCache, Entry, datagrams_of, entry_of, may_be_cached, question_key
from idnode.metrics import Metrics
from idnode.native import NativeEngine
from idnode.quick_answers import Question
from idnode.reading import ReadingQueue
from idnode.source import Source, TrustedNetworks
from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.envelope import TRUNCATED
from idnode_protocol.fragments import Reassembler, split_message
from idnode_protocol.header import EXPIRATION_S
from idnode_protocol.limits import DATAGRAM_OCTETS_MAX, ENVELOPE_OCTETS, HEADER_OCTETS
from idnode_registry.budgets import Budgets, WorkClass

BATCHES_PER_WAKE_UP: Final = 4
TURN_S: Final = 0.001
"""After four batches or this long the loop goes back to TCP, HTTP and timers, whatever waits in the socket; a batch
that was begun may look up for as long again."""
STARTED_PER_TURN: Final = 8
"""Requests of the general path begun per turn of the loop; each may take a tenth of a millisecond or more."""
TASKS_MAX: Final = 128
"""Requests of the general path under way: what a request by TCP may find before it at the workers."""
WAITING_MAX: Final = 1_024
"""Requests of the general path that wait their turn; datagrams beyond are dropped, their senders repeat them."""
STALE_S: Final = 1.0
"""Whoever asked so long ago has repeated the request, or given up: answering it would only delay the next."""
PEERS_REMEMBERED: Final = 65_536
GAIN_MAX: Final = 7.5
"""Octets out per octet in for a source that is not trusted: what a forged sender's victim can be made to receive."""
REQUEST_OCTETS_MIN: Final = ENVELOPE_OCTETS + HEADER_OCTETS


@dataclass(frozen=True, slots=True)
class UdpSettings:
    """``limit_trusted`` applies budgets to trusted sources too; ``refused_ports`` are service ports of ours."""

    limit_trusted: bool = False
    refused_ports: frozenset[int] = frozenset()


_Miss = tuple[bytes, bytes, bytes]
"""Key, request, peer of a question that has no finished answer."""


_Asked = tuple[Question, bytes, bytes, bytes]
"""A question whose record is to be looked up; key, request, peer."""


class _Cold(NamedTuple):
    """One that reader threads look up: the socket it came by, when (s since 1970), the cache's epoch by then."""

    asked: _Asked
    sock: UdpSocket
    since: float
    epoch: int


@dataclass(slots=True)
class _Turn:
    """One batch: when it came and until when it may be worked on (monotonic), and what is sent at its end.

    ``codes`` counts answered resolutions by response code.
    """

    sock: UdpSocket
    now: float
    expiration: bytes
    until: float
    answers: list[Datagram] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)


class _Waiting(NamedTuple):
    """A request that waits its turn; ``since`` on the monotonic clock, ``is_plain`` as the answer cache means it."""

    since: float
    sock: UdpSocket
    message: bytes
    peer: bytes
    is_plain: bool


def expiration_octets(now: float) -> bytes:
    """A zero octet and 4 octets of seconds since 1970, as a response's header has them."""
    return b"\0" + (int(now) + EXPIRATION_S).to_bytes(4, "big")


class UdpServer:
    """All UDP sockets of a node."""

    def __init__(
        self,
        engine: NativeEngine,
        cache: AnswerCache,
        budgets: Budgets,
        trusted: TrustedNetworks,
        metrics: Metrics,
        fault: Callable[[str, BaseException], None],
        settings: UdpSettings,
        readers: RunBlocking,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._quick = engine.quick
        self._pace = engine.pace
        self._reading: ReadingQueue[_Cold] = ReadingQueue(
            engine.get, readers, lambda cold: cold.asked[0][1], self._were_read, self._reading_fault
        )
        self._cache = cache
        self._budgets = budgets
        self._trusted = trusted
        self._metrics = metrics
        self._fault = fault
        self._settings = settings
        self._now = now
        self._monotonic = monotonic
        self._free: dict[bytes, bool] = {}  # raw address and port -> no budget, whole answers
        self._reassembler = Reassembler()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Waiting] = deque()
        self._begins_next_turn = False
        self._sockets: list[UdpSocket] = []

    def attach(self, sock: UdpSocket) -> None:
        """Serve a bound socket."""
        self._sockets.append(sock)
        sock.add_reader(lambda: self._readable(sock))

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """Requests of the general path under way, and look-ups in reader threads."""
        return frozenset(self._tasks | self._reading.jobs)

    def close(self) -> None:
        """Close the sockets; requests under way may still finish, their answers go nowhere."""
        self._waiting.clear()
        self._reading.clear()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def _readable(self, sock: UdpSocket) -> None:
        """One wake-up: at most four batches, or a millisecond."""
        until = self._monotonic() + TURN_S
        for _ in range(BATCHES_PER_WAKE_UP):
            batch = sock.receive_batch()
            if not batch:
                break
            now = self._now()
            if sock.received_at and now - sock.received_at > STALE_S:
                self._metrics.shed("udp_stale", len(batch))
            else:
                self._serve(sock, batch, now, until)
            if len(batch) < BATCH or self._monotonic() > until:
                break
        if self._waiting and not self._begins_next_turn:
            self._begin()

    def _serve(self, sock: UdpSocket, batch: list[Datagram], now: float, until: float) -> None:
        self._cache.catch_up()
        if self._cache.due:
            self._cache.expire(self._monotonic())
        turn = _Turn(sock, now, expiration_octets(now), until)
        find, is_free, expiration = self._cache.entries.get, self._free.get, turn.expiration
        answers, codes = turn.answers, turn.codes
        misses: list[_Miss] = []
        for request, peer in batch:
            key = request[:8] + request[12:32] + request[40:]
            entry = find(key)
            if entry is None:
                misses.append((key, request, peer))
                continue
            start, middle, rest, further, code, _ = entry
            if is_free(peer):
                request_id = request[8:12]
                answers.append((b"".join((start, request_id, middle, request[34:35], expiration, rest)), peer))
                for part in further:
                    answers.append((b"".join((start, request_id, part)), peer))
                codes[code] = codes.get(code, 0) + 1
            else:
                self._reply(turn, request, peer, entry)
        self._metrics.udp_octets("in", sum([len(request) for request, _ in batch]))
        if len(misses) < len(batch):
            self._metrics.cache("hits", len(batch) - len(misses))
        if misses:
            self._missed(turn, misses)
        self._finish(turn)

    def _turn(self, sock: UdpSocket) -> _Turn:
        now = self._now()
        return _Turn(sock, now, expiration_octets(now), self._monotonic() + TURN_S)

    def _finish(self, turn: _Turn) -> None:
        """Send and count what a turn answered."""
        if turn.answers:
            turn.sock.send_batch(turn.answers)
            self._metrics.udp_octets("out", sum([len(octets) for octets, _ in turn.answers]))
        for code, number in turn.codes.items():
            self._metrics.requests("udp", OpCode.RESOLUTION, code, number)

    # -- everything but a cache hit of a trusted source -----------------------------------------------------------

    def _missed(self, turn: _Turn, misses: list[_Miss]) -> None:
        """Answer what a record's octets decide, for a millisecond at most; the rest goes the long way."""
        asked: list[_Asked] = []
        for key, request, peer in misses:
            question = self._quick.question(key)
            if question is None:
                self._miss(turn, request, peer)
            else:
                asked.append((question, key, request, peer))
        if not asked:
            return
        epoch = self._cache.epoch
        if self._pace.is_slow:
            cold = [_Cold(each, turn.sock, turn.now, epoch) for each in asked]
            taken = self._reading.add(cold)
            if taken < len(cold):
                self._metrics.shed("udp_cold", len(cold) - taken)
            return
        records = self._pace.read(self._engine.get, [each[0][1] for each in asked], self._monotonic() + TURN_S)
        self._answer(turn, asked, records, epoch)
        for _, _, request, peer in asked[len(records) :]:
            self._miss(turn, request, peer)

    def _answer(self, turn: _Turn, asked: list[_Asked], records: list[bytes | None], epoch: int) -> None:
        """Answer questions whose records were read, and keep the answers; the rest goes the long way."""
        make, takes, is_free, expiration = self._quick.answer, self._cache.takes, self._free.get, turn.expiration
        answers, codes = turn.answers, turn.codes
        answered = 0
        for (question, key, request, peer), record in zip(asked, records, strict=False):
            entry = make(question, key, record)
            if entry is None:
                self._miss(turn, request, peer)
                continue
            answered += 1
            if takes(key, entry):
                self._cache.put(key, b"/".join(question[1]), entry, epoch)
            if is_free(peer):
                start, middle, rest, further, code, _ = entry
                request_id = request[8:12]
                answers.append((b"".join((start, request_id, middle, request[34:35], expiration, rest)), peer))
                for part in further:
                    answers.append((b"".join((start, request_id, part)), peer))
                codes[code] = codes.get(code, 0) + 1
            else:
                self._reply(turn, request, peer, entry)
        self._metrics.cache("misses", answered)

    def _miss(self, turn: _Turn, request: bytes, peer: bytes) -> None:
        """Answer from the registry if that is all it takes and the turn is not over, else let it wait for the next."""
        if len(request) < ENVELOPE_OCTETS:
            self._metrics.shed("udp_short")
            return
        is_whole = int.from_bytes(request[16:20], "big") == len(request) - ENVELOPE_OCTETS
        is_plain = is_whole and may_be_cached(request) and not self._pace.is_slow
        if is_plain and self._monotonic() < turn.until:
            if self._look_up(turn, request, peer):
                return
            is_plain = False
        message = request
        if not is_whole or request[2] & TRUNCATED:
            whole = self._reassembler.add(peer, request, self._monotonic())
            if whole is None:
                self._metrics.fragment()
                return
            message = whole
        if len(self._waiting) >= WAITING_MAX:
            self._metrics.shed("udp_busy")
            return
        self._waiting.append(_Waiting(self._monotonic(), turn.sock, message, peer, is_plain))

    def _were_read(self, cold: list[_Cold], records: list[bytes | None]) -> None:
        """Answer what reader threads looked up."""
        if not self._sockets:
            return  # closed meanwhile
        now = self._now()
        turns: dict[UdpSocket, _Turn] = {}
        for (asked, sock, since, epoch), record in zip(cold, records, strict=True):
            if now - since > STALE_S:
                self._metrics.shed("udp_stale")
                continue
            turn = turns.get(sock)
            if turn is None:
                turn = turns[sock] = self._turn(sock)
            self._answer(turn, [asked], [record], epoch)
        for turn in turns.values():
            self._finish(turn)
        if self._waiting and not self._begins_next_turn:
            self._begin()

    def _look_up(self, turn: _Turn, request: bytes, peer: bytes) -> bool:
        """Queue the answer to a plain resolution, and keep it; False if it takes more than reading the registry."""
        epoch = self._cache.epoch
        found = self._engine.plain(request, turn.now)
        if found is None:
            return False
        self._metrics.cache("misses")
        name, response, lives_s = found
        key, entry = question_key(request), entry_of(response)
        if name is not None and self._cache.takes(key, entry):
            expires = None if lives_s is None else self._monotonic() + lives_s
            self._cache.put(key, name, entry, epoch, expires)
        self._reply(turn, request, peer, entry)
        return True

    def _begin(self) -> None:
        """Look up for a millisecond, begin a few of the others, and come back in the loop's next turn for the rest."""
        self._begins_next_turn = False
        loop = asyncio.get_running_loop()
        began = self._monotonic()
        begun = 0
        while self._waiting and begun < STARTED_PER_TURN and len(self._tasks) < TASKS_MAX:
            since, sock, message, peer, is_plain = self._waiting.popleft()
            if since < began - STALE_S:
                self._metrics.shed("udp_stale")
                continue
            if is_plain:
                turn = self._turn(sock)
                self._missed(turn, [(question_key(message), message, peer)])
                self._finish(turn)
            else:
                task = loop.create_task(self._general(sock, message, peer))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
                begun += 1
            if self._monotonic() > began + TURN_S:
                break
        if self._waiting and len(self._tasks) < TASKS_MAX:
            self._begins_next_turn = True
            loop.call_soon(self._begin)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._waiting and not self._begins_next_turn:
            self._begins_next_turn = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _reply(self, turn: _Turn, request: bytes, peer: bytes, entry: Entry) -> None:
        """Queue what the source may have of an answer, and count a plain resolution."""
        datagrams = datagrams_of(entry, request, turn.expiration)
        allowed = self._allowed(request, peer, datagrams)
        turn.answers += [(octets, peer) for octets in allowed]
        if allowed:
            code = entry[4] if allowed is datagrams else int(ResponseCode.ERROR)
            turn.codes[code] = turn.codes.get(code, 0) + 1

    def _allowed(self, request: bytes, peer: bytes, datagrams: list[bytes]) -> list[bytes]:
        """The answer itself, "ask by TCP" in its place, or nothing when the source's budget is spent."""
        if self._is_free(peer):
            return datagrams
        address, port = peer_address(peer)
        if port in self._settings.refused_ports:
            self._metrics.shed("udp_service_port")
            return []
        if len(datagrams) > 1 or len(datagrams[0]) > min(DATAGRAM_OCTETS_MAX, GAIN_MAX * len(request)):
            datagrams = [self._engine.too_large(datagrams[0])]
            self._metrics.shed("udp_too_large")
        spent = self._budgets.spend(address, WorkClass.UDP_OCTETS, self._monotonic(), len(datagrams[0]))
        if not spent:
            self._metrics.shed("udp_budget")
            return []
        return datagrams

    def _is_free(self, peer: bytes) -> bool:
        """Whether the peer is trusted, not limited, and not a service of ours (remembered, at most 65,536 peers)."""
        known = self._free.get(peer)
        if known is None:
            address, port = peer_address(peer)
            known = (
                not self._settings.limit_trusted
                and port not in self._settings.refused_ports
                and self._trusted.trusts(address)
            )
            if len(self._free) >= PEERS_REMEMBERED:
                self._free.clear()
            self._free[peer] = known
        return known

    def _reading_fault(self, fault: BaseException) -> None:
        self._metrics.shed("udp_fault")
        self._fault("a look-up for udp", fault)

    async def _general(self, sock: UdpSocket, message: bytes, peer: bytes) -> None:
        address, port = peer_address(peer)
        source = Source("udp", address, port, self._trusted.trusts(address))
        try:
            answers = await self._engine.answer(message, source)
        except Exception as fault:
            self._metrics.shed("udp_fault")
            self._fault("a request over udp", fault)
            return
        if not answers.messages:
            self._metrics.shed("udp_unanswerable")
        for octets in answers.messages:
            sock.send_batch([(part, peer) for part in self._allowed(message, peer, split_message(octets))])
