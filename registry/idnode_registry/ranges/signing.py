"""A signing node signs a member of a range when it is read for the first time, and remembers the signature.

Nobody can sign 10^11 records beforehand, and no member leaves such a node without a signature. So signing is bought
from a budget: above it the answer is "busy" (RC 3). A signature takes milliseconds of arithmetic; whoever answers
requests lets a worker do it between two looks::

    unsigned member --> begin() --> sign() in a worker --> end() --> known()
"""

from __future__ import annotations

from threading import Lock
from typing import Final

from idnode_protocol.value import values_from_octets, values_to_octets
from idnode_registry.ranges.ranges import Member
from idnode_registry.trust.errors import SigningRefused
from idnode_registry.trust.sealing import Sealer

SIGNATURES_PER_S: Final = 500
SIGNATURES_BURST: Final = 500
WAITING_MAX: Final = 64
"""Begun and not ended; at two at a time some tenths of a second's work."""
SIGNED_OCTETS_MAX: Final = 64 * 1024 * 1024
RENEWED_AFTER: Final = 0.5
"""A signature is made anew once this part of its life is over."""
_ENTRY_OCTETS: Final = 400
_ROUNDING_S: Final = 1e-6


class MemberSigner:
    """All methods may be called from any thread; ``now`` in seconds since 1970."""

    def __init__(self, sealer: Sealer, *, per_s: float = SIGNATURES_PER_S, octets_max: int = SIGNED_OCTETS_MAX) -> None:
        self._sealer = sealer
        self._per_s = per_s
        self._octets_max = octets_max
        self._lock = Lock()  # guards everything below
        self._signed: dict[bytes, tuple[bytes, bytes, float]] = {}  # handle -> unsigned, signed, to be renewed at
        self._octets = 0
        self._full_at = 0.0  # when the budget will be whole again
        self._waiting = 0

    def known(self, member: Member, now: float) -> bytes | None:
        """The value list to answer with: signed, or as it is when the certificate's scope does not cover the handle.
        None = it has to be signed first."""
        found = self._signed.get(member.handle)
        if found is not None and found[0] == member.values and now < found[2]:
            return found[1]
        return None if self._sealer.may_sign(member.handle) else member.values

    def begin(self, now: float) -> bool:
        """Take one signature out of the budget; False = there is none left. Followed by :meth:`end`."""
        with self._lock:
            longest_s = SIGNATURES_BURST / self._per_s
            # A clock that was set back must not close the budget until it has caught up.
            self._full_at = min(max(self._full_at, now), now + longest_s)
            full_at = self._full_at + 1 / self._per_s
            if full_at - now > longest_s + _ROUNDING_S or self._waiting >= WAITING_MAX:
                return False
            self._full_at = full_at
            self._waiting += 1
            return True

    def end(self) -> None:
        """What :meth:`begin` allowed is over, one way or another."""
        with self._lock:
            self._waiting -= 1

    def sign(self, member: Member, now: float) -> str:
        """Make the signature and remember it; why it cannot be made, empty when it was."""
        try:
            values = self._sealer.seal(member.handle, (), values_from_octets(member.values), now)
        except SigningRefused as wrong:
            return str(wrong)
        octets = values_to_octets(values)
        with self._lock:
            self._forget(member.handle)
            self._signed[member.handle] = member.values, octets, now + RENEWED_AFTER * self._sealer.life_s
            self._octets += _size(member.handle, member.values, octets)
            while self._octets > self._octets_max:
                self._forget(next(iter(self._signed)))
        return ""

    def _forget(self, handle: bytes) -> None:
        found = self._signed.pop(handle, None)
        if found is not None:
            self._octets -= _size(handle, found[0], found[1])


def _size(handle: bytes, unsigned: bytes, signed: bytes) -> int:
    return len(handle) + len(unsigned) + len(signed) + _ENTRY_OCTETS
