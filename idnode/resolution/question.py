"""What is asked and what became of it: the two values every part of the resolution exchanges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from idnode_protocol.codes import REQUEST_FLAGS, OpFlag, ResponseCode
from idnode_protocol.handle import fold_name, with_slash
from idnode_protocol.requests import ResolutionRequest
from idnode_protocol.value import HandleValue, fold_type, values_from_octets

KEPT_FLAGS: Final = int(OpFlag.PO | OpFlag.CT)
"""Answers with different ones of these are different answers."""


class Key(NamedTuple):
    """What an answer is remembered under. Only what every server folds is folded: the prefix, and names under ``0.``"""

    name: bytes
    indexes: tuple[int, ...]
    types: tuple[str, ...]
    flags: int


@dataclass(frozen=True, slots=True)
class Question:
    """A resolution: ``name`` as spelled by who asks, ``flags`` as on the wire."""

    name: bytes
    indexes: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    flags: int = REQUEST_FLAGS

    @property
    def key(self) -> Key:
        types = tuple(sorted({fold_type(kind) for kind in self.types}))
        indexes = tuple(sorted(set(self.indexes)))
        return Key(fold_name(with_slash(self.name), whole=False), indexes, types, self.flags & KEPT_FLAGS)

    def has(self, flag: OpFlag) -> bool:
        return bool(self.flags & flag)

    @property
    def whole(self) -> Question:
        """The question for every public value of the record, which is what signatures can be judged of."""
        return replace(self, indexes=(), types=(), flags=int(self.flags | OpFlag.PO))

    @property
    def request(self) -> ResolutionRequest:
        """The body that asks it."""
        return ResolutionRequest(self.name, self.indexes, self.types)


class Failure(StrEnum):
    """Why there is no answer."""

    LOOP = "the delegation leads back to itself"
    NO_SERVICE = "nobody is named to ask"
    TOO_DEEP = "too many referrals behind one another"
    UNREACHABLE = "no server answered"
    BUDGET = "the question costs more than it may"
    TIME = "no answer in time"
    BUSY = "too much is asked under this prefix"


CODE_OF: Final[dict[Failure, int]] = {
    Failure.LOOP: ResponseCode.SERVER_NOT_RESPONSIBLE,
    Failure.NO_SERVICE: ResponseCode.SERVER_NOT_RESPONSIBLE,
    Failure.TOO_DEEP: ResponseCode.SERVER_NOT_RESPONSIBLE,
    Failure.UNREACHABLE: ResponseCode.ERROR,
    Failure.BUDGET: ResponseCode.ERROR,
    Failure.TIME: ResponseCode.ERROR,
    Failure.BUSY: ResponseCode.SERVER_BUSY,
}
"""What a recursive node answers. 301 is final for a client; 2 makes it try elsewhere, which may help."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``code`` is the response code. On success ``value_list`` holds the values octet for octet as they came, TTLs too.

    ``age_s``: seconds since they came, 0 = just now. ``lives_s``: seconds they may be kept. ``is_stale``: they, or the
    delegation that led to them, outlived their TTL and upstream is gone. ``server`` says who sent them, for people.
    """

    code: int
    value_list: bytes = b""
    text: str = ""
    failure: Failure | None = None
    is_authoritative: bool = False
    is_stale: bool = False
    is_cached: bool = False
    age_s: float = 0.0
    lives_s: float = 0.0
    server: str = ""

    @property
    def is_success(self) -> bool:
        return self.code == ResponseCode.SUCCESS

    @property
    def values(self) -> tuple[HandleValue, ...]:
        """The values, decoded."""
        return values_from_octets(self.value_list) if self.value_list else ()


def failed(failure: Failure, text: str) -> Outcome:
    """An outcome without an answer."""
    return Outcome(CODE_OF[failure], text=text, failure=failure)
