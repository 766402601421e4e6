"""Numbers from a seed, without state outside: the same on every machine and in every process."""

from __future__ import annotations

from hashlib import blake2b
from math import gcd
from typing import Final

_MASK: Final = 2**64 - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


class SplitMix:
    """Vigna's splitmix64: fast, any seed is good. For choosing, not for content."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed * _GOLDEN & _MASK

    def next64(self) -> int:
        """Uniform in [0, 2^64)."""
        self._state = z = (self._state + _GOLDEN) & _MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        return z ^ z >> 31

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        return (self.next64() >> 11) * 2.0**-53

    def below(self, limit: int) -> int:
        """Uniform in [0, limit); the bias is below limit / 2^64."""
        return self.next64() * limit >> 64


def stream_octets(seed: int, number: int) -> bytes:
    """64 octets of a cryptographic stream for one record: nothing compresses them."""
    return blake2b(number.to_bytes(8, "big"), key=seed.to_bytes(8, "big"), digest_size=64).digest()


def scrambled(rank: int, count: int) -> int:
    """A bijection of [0, count) that spreads neighbours: popular ranks do not lie side by side."""
    return rank * _step(count) % count


_steps: dict[int, int] = {}


def _step(count: int) -> int:
    """An odd factor near the golden section of ``count``, with no divisor in common with it."""
    found = _steps.get(count)
    if found is None:
        found = max(1, round(count * 0.6180339887498949)) | 1
        while gcd(found, count) != 1:
            found += 2
        _steps[count] = found
    return found
