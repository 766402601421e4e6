"""The JSON state of a log request: how far the asker has come in each queue (docs/protocol.md §10.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from idnode_protocol.errors import Malformed
from idnode_protocol.limits import MESSAGE_OCTETS_MAX

QUEUES_MAX: Final = 4_096
"""In one request; more do not fit into a message with names of usual length."""
NUMBER_MAX: Final = 2**63 - 1
NONCE_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class QueueState:
    """Last transaction taken and when the source wrote it (ms); what the asker believes, nothing more."""

    last_txn_id: int = 0
    last_timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class JournalWish:
    """Ours, a member the reference does not read: send the journal itself, under a manifest with this nonce.

    Only queues of prefixes after ``after`` and, unless None, up to ``until`` are meant; at most ``entries`` of each.
    """

    nonce: bytes
    after: str = ""
    until: str | None = None
    entries: int = 4_096


@dataclass(frozen=True, slots=True)
class ReplicationState:
    """Queue name -> state, the asker's own site name, and our wish if there is one."""

    queues: Mapping[str, QueueState] = field(default_factory=dict)
    own_name: str | None = None
    wish: JournalWish | None = None

    def to_octets(self) -> bytes:
        states = {
            name: {"lastTxnId": state.last_txn_id, "lastTimestamp": state.last_timestamp_ms}
            for name, state in self.queues.items()
        }
        members: dict[str, Any] = {"replicationServerStates": states}
        if self.own_name is not None:
            members["ownName"] = self.own_name
        if self.wish is not None:
            wish = self.wish
            members["idnode"] = {
                "nonce": wish.nonce.hex(),
                "after": wish.after,
                "until": wish.until,
                "entries": wish.entries,
            }
        return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    @classmethod
    def from_octets(cls, octets: bytes) -> ReplicationState:
        """Members nobody knows are passed over; raises :class:`Malformed` for what is not of its kind."""
        if len(octets) > MESSAGE_OCTETS_MAX:
            raise Malformed(f"a replication state of {len(octets)} octets")
        try:
            members = json.loads(octets)
            json.dumps(members, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no octets to compare with
        except (ValueError, RecursionError) as wrong:
            raise Malformed(f"the replication state is not JSON in UTF-8: {wrong}") from wrong
        states = _object(members, "the replication state").get("replicationServerStates", {})
        queues = {str(name): _state(name, state) for name, state in _object(states, "replicationServerStates").items()}
        if len(queues) > QUEUES_MAX:
            raise Malformed(f"a replication state of {len(queues)} queues, at most {QUEUES_MAX} are allowed")
        own = members.get("ownName")
        if own is not None and not isinstance(own, str):
            raise Malformed("ownName in the replication state is not text")
        wish = members.get("idnode")
        return cls(queues, own, None if wish is None else _wish(_object(wish, "idnode")))


def _object(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Malformed(f"{where} is not a JSON object")
    return found


def _number(found: Any, where: str, minimum: int = -NUMBER_MAX - 1) -> int:
    if type(found) is not int or not minimum <= found <= NUMBER_MAX:
        raise Malformed(f"{where} in the replication state is not a number that fits")
    return found


def _state(name: str, found: Any) -> QueueState:
    members = _object(found, f"the state of queue {name[:64]!r}")
    return QueueState(
        _number(members.get("lastTxnId", 0), "lastTxnId"), _number(members.get("lastTimestamp", 0), "lastTimestamp")
    )


def _wish(members: dict[str, Any]) -> JournalWish:
    nonce, after, until = members.get("nonce"), members.get("after", ""), members.get("until")
    if not isinstance(nonce, str) or len(nonce) != NONCE_DIGITS or not isinstance(after, str):
        raise Malformed("the wish for a journal has no nonce of 32 hexadecimal digits, or no text in after")
    if until is not None and not isinstance(until, str):
        raise Malformed("until in the wish for a journal is not text")
    try:
        octets = bytes.fromhex(nonce)
    except ValueError:
        raise Malformed("the nonce in the wish for a journal is not hexadecimal") from None
    return JournalWish(octets, after, until, _number(members.get("entries", 1), "entries", 1))
