"""Choices and RSA keys that follow from a seed, so that a chain can be made again. Such keys are no secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import count
from math import gcd
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

from idnode_registry.crypto import Signer

T = TypeVar("T")
EXPONENT: Final = 65_537
KEY_BITS: Final = 2_048
_BASES: Final = (2, 3, 5, 7, 11, 13, 17, 19)
"""For candidates drawn at random eight bases leave less than 2^-80 (FIPS 186-5, table B.1)."""


def _small_primes(below: int) -> int:
    """The product of the odd primes below a bound."""
    product = 1
    for number in range(3, below, 2):
        if gcd(number, product) == 1:
            product *= number
    return product


_SIEVE: Final = _small_primes(4_000)


def seeded_octets(seed: str) -> Callable[[int], bytes]:
    """n -> the next n octets of a stream that the seed determines (SHA-256 of seed and counter)."""
    numbers = count()
    start = hashlib.sha256(seed.encode("utf-8")).digest()

    def octets(number: int) -> bytes:
        blocks = (hashlib.sha256(start + next(numbers).to_bytes(8, "big")).digest() for _ in range(-(-number // 32)))
        return b"".join(blocks)[:number]

    return octets


class Dice:
    """Choices out of a source of octets, seeded or not."""

    def __init__(self, octets: Callable[[int], bytes]) -> None:
        self.octets = octets

    def below(self, bound: int) -> int:
        """0 .. bound - 1."""
        return int.from_bytes(self.octets(8), "big") % bound

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def sample(self, choices: Sequence[T], number: int) -> list[T]:
        """So many different ones."""
        left = list(choices)
        return [left.pop(self.below(len(left))) for _ in range(number)]


def seeded_key(octets: Callable[[int], bytes], bits: int = KEY_BITS) -> Signer:
    """An RSA key found from the octets alone; one of 2,048 bits takes about half a second."""
    p = q = _prime(octets, bits // 2)
    while q == p:
        q = _prime(octets, bits // 2)
    n, phi = p * q, (p - 1) * (q - 1)
    d = pow(EXPONENT, -1, phi)
    parts = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return Signer(rsa.RSAPrivateNumbers(p, q, d, *parts, rsa.RSAPublicNumbers(EXPONENT, n)).private_key())


def _prime(octets: Callable[[int], bytes], bits: int) -> int:
    """A prime with its two top bits set, so that a product of two has twice the bits."""
    start = int.from_bytes(octets(bits // 8), "big")
    candidate = start | 3 << (bits - 2) | 1
    while not _is_prime(candidate):
        candidate += 2
    return candidate


def _is_prime(number: int) -> bool:
    if gcd(number, _SIEVE) != 1 or gcd(number - 1, EXPONENT) != 1:
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, base, odd, twos) for base in _BASES)


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    """One round of Miller and Rabin."""
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False
