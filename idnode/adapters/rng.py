"""Randomness: every draw comes from ``octets``, so the two versions differ in one method."""

from __future__ import annotations

import hashlib
import os
import random
import uuid
from abc import ABC, abstractmethod
from typing import Final, Protocol, runtime_checkable

REQUEST_ID_MAX: Final = 2**31 - 1
"""Request ids are positive on clients that read them as signed (docs/protocol.md §3.1)."""


@runtime_checkable
class Rng(Protocol):
    """A source of randomness."""

    def octets(self, count: int) -> bytes:
        """So many random octets; cryptographically strong in the real version."""

    def below(self, bound: int) -> int:
        """A uniform integer, 0 <= n < bound. Raises ValueError when bound < 1."""

    def uniform(self) -> float:
        """A uniform float, 0 <= x < 1, of 53 bits."""

    def request_id(self) -> int:
        """1 .. 2^31 - 1."""

    def uuid4(self) -> str:
        """A random UUID: 36 lower-case characters (RFC 9562 §5.4)."""


class _FromOctets(ABC):
    """All draws, out of octets."""

    @abstractmethod
    def octets(self, count: int) -> bytes: ...

    def below(self, bound: int) -> int:
        if bound < 1:
            raise ValueError(f"bound must be at least 1, not {bound}")
        bits = (bound - 1).bit_length()
        size = (bits + 7) // 8
        while True:  # rejection keeps it uniform; fewer than two draws on average
            drawn = int.from_bytes(self.octets(size)) >> (size * 8 - bits)
            if drawn < bound:
                return drawn

    def uniform(self) -> float:
        return (int.from_bytes(self.octets(7)) >> 3) / 2**53

    def request_id(self) -> int:
        return self.below(REQUEST_ID_MAX) + 1

    def uuid4(self) -> str:
        return str(uuid.UUID(bytes=self.octets(16), version=4))


class RealRng(_FromOctets):
    """The operating system's generator."""

    def octets(self, count: int) -> bytes:
        return os.urandom(count)


class SimulatedRng(_FromOctets):
    """The same octets for the same seed, in every process and on every machine. Never for keys of real nodes."""

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        digest = hashlib.sha256(f"{type(seed).__name__}:{seed}".encode()).digest()
        self._source = random.Random(int.from_bytes(digest))

    def octets(self, count: int) -> bytes:
        return self._source.randbytes(count)

    def child(self, name: str) -> SimulatedRng:
        """An independent stream of its own, so that one consumer's draws do not shift another's."""
        return SimulatedRng(f"{self.seed}/{name}")
