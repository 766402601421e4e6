"""Session keys: the Diffie-Hellman exchange, what is cut from its secret, and counters (docs/protocol.md §5.7).

The client chooses the group. Its size is bounded and its numbers are checked, but ``p`` is not tested for primality:
that costs more than the exchange and protects only a client that means to harm itself. The ciphers themselves belong
to the registry floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from idnode_protocol.errors import LimitExceeded, Malformed, NotEncodable, Unsupported
from idnode_protocol.limits import (
    DH_EXPONENT_BITS,
    DH_PRIME_BITS_MAX,
    DH_PRIME_BITS_MIN,
    SESSION_COUNTER_WINDOW,
)
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.values.keys import DhPublicKey

MODE_DIFFIE_HELLMAN: Final = 4
"""The one mode of session set-up that lives; 1 to 3 exchange keys under RSA PKCS#1 v1.5 and are not offered."""
SESSION_TIMEOUT_S: Final = 86_400
"""What the stock client asks for."""


class SessionAlgorithm(IntEnum):
    """The cipher of a session, as numbered in the answer to its set-up."""

    DES = 1
    DESEDE = 2
    AES = 3


SESSION_KEY_OCTETS: Final[dict[int, int]] = {
    SessionAlgorithm.DES: 8,
    SessionAlgorithm.DESEDE: 24,
    SessionAlgorithm.AES: 32,
}
CIPHER_KEY_OCTETS: Final[dict[int, int]] = {**SESSION_KEY_OCTETS, SessionAlgorithm.AES: 16}
"""AES uses only the first half of the session key: AES-128."""


class WeakGroup(LimitExceeded):
    """The peer's Diffie-Hellman group or public number is outside what is accepted; offer 1,024 to 3,072 bits."""


# -- Diffie-Hellman -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DhGroup:
    """Prime ``p`` and generator ``g``."""

    p: int
    g: int


OAKLEY_GROUP_2: Final = DhGroup(
    int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
        "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
        16,
    ),
    2,
)
"""RFC 2409 §6.2, 1,024 bits."""
MODP_2048: Final = DhGroup(
    int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
        "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
        "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
        "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
        "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
        16,
    ),
    2,
)
"""RFC 3526 §3, 2,048 bits: what our own client offers."""


def check_group(group: DhGroup) -> None:
    """Raise :class:`WeakGroup` unless p is odd and of 1,024 to 3,072 bits, and 1 < g < p - 1."""
    bits = group.p.bit_length()
    if not DH_PRIME_BITS_MIN <= bits <= DH_PRIME_BITS_MAX:
        raise WeakGroup(f"Diffie-Hellman prime of {bits} bits; allowed {DH_PRIME_BITS_MIN} to {DH_PRIME_BITS_MAX}")
    if group.p % 2 == 0:
        raise WeakGroup("the Diffie-Hellman prime is even")
    if not 1 < group.g < group.p - 1:
        raise WeakGroup("the Diffie-Hellman generator must lie between 1 and p - 1")


def check_public(y: int, group: DhGroup) -> None:
    """Raise :class:`WeakGroup` unless 1 < y < p - 1: the others give a secret anybody knows."""
    if not 1 < y < group.p - 1:
        raise WeakGroup("the Diffie-Hellman public number must lie between 1 and p - 1")


def check_peer(key: DhPublicKey) -> DhGroup:
    """The group of a peer's key, after all checks; raises :class:`WeakGroup`."""
    group = DhGroup(key.p, key.g)
    check_group(group)
    check_public(key.y, group)
    return group


def exponent_from(octets: bytes) -> int:
    """A private exponent of 256 bits from 32 random octets; raises :class:`NotEncodable` for fewer.

    The top bit is set, so that the exponent is never short.
    """
    if len(octets) < DH_EXPONENT_BITS // 8:
        raise NotEncodable(f"a private exponent needs {DH_EXPONENT_BITS // 8} random octets, {len(octets)} given")
    return int.from_bytes(octets[: DH_EXPONENT_BITS // 8], "big") | 1 << (DH_EXPONENT_BITS - 1)


def dh_public(x: int, group: DhGroup) -> int:
    """g^x mod p; about 5 ms for 2,048 bits, so run it in a worker."""
    return pow(group.g, x, group.p)


def dh_public_key(x: int, group: DhGroup) -> DhPublicKey:
    """The public key record to send for the private exponent ``x``."""
    return DhPublicKey(dh_public(x, group), group.p, group.g)


def shared_secret(x: int, peer: DhPublicKey) -> bytes:
    """y^x mod p, big-endian, padded to the length of p; raises :class:`WeakGroup` for an unacceptable peer key."""
    group = check_peer(peer)
    return pow(peer.y, x, group.p).to_bytes((group.p.bit_length() + 7) // 8, "big")


# -- keys -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The key of a session: 32 octets for AES, 24 for DESede, 8 for DES."""

    algorithm: int
    octets: bytes

    @property
    def mac_key(self) -> bytes:
        """What HMAC-SHA256 is keyed with: all of it."""
        return self.octets

    @property
    def cipher_key(self) -> bytes:
        """What the cipher is keyed with: all of it, but only the first 16 octets for AES."""
        return self.octets[: CIPHER_KEY_OCTETS[self.algorithm]]


def odd_parity(octets: bytes) -> bytes:
    """Each octet with its lowest bit set so that the number of ones is odd, as DES keys want it."""
    return bytes(octet & 0xFE | (1 ^ (octet >> 1).bit_count() & 1) for octet in octets)


def session_key(secret: bytes, algorithm: int) -> SessionKey:
    """The session key cut from a shared secret; raises :class:`Unsupported` for an unknown algorithm.

    AES strips leading zero octets as long as more than 32 remain, then takes 32; DES and DESede take their octets from
    the front as they stand and set odd parity.
    """
    size = SESSION_KEY_OCTETS.get(algorithm)
    if size is None:
        raise Unsupported(f"session cipher {algorithm}; known are 1 DES, 2 DESede, 3 AES")
    if len(secret) < size:
        raise WeakGroup(f"a shared secret of {len(secret)} octets is too short for a key of {size}")
    if algorithm != SessionAlgorithm.AES:
        return SessionKey(algorithm, odd_parity(secret[:size]))
    zeros = len(secret) - len(secret.lstrip(b"\0"))
    start = min(zeros, len(secret) - size)
    return SessionKey(algorithm, secret[start : start + size])


def encode_exchange(algorithm: int, key: DhPublicKey) -> bytes:
    """The data of a set-up response: the algorithm, then the server's public key."""
    return Writer().i32(algorithm).raw(key.to_octets()).to_octets()


def decode_exchange(octets: bytes) -> tuple[int, DhPublicKey]:
    """(algorithm, server's public key); raises :class:`RemoteError` subclasses."""
    reader = Reader(octets)
    algorithm = reader.i32()
    if algorithm not in SESSION_KEY_OCTETS:
        raise Malformed(f"unknown session cipher {algorithm}", 0)
    return algorithm, DhPublicKey.from_octets(reader.rest())


# -- counters -------------------------------------------------------------------------------------------------------


class CounterWindow:
    """Which message counters of a session were seen: the highest one and the 200 below it.

    Each counter is accepted once; UDP may bring them out of order. Counter 0 is refused: senders start at 1, and a
    number that is never checked is a replay without limit.
    """

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, size: int = SESSION_COUNTER_WINDOW) -> None:
        self._size = size
        self._highest = 0
        self._seen = 0

    @property
    def highest(self) -> int:
        """The highest counter accepted so far, 0 before the first."""
        return self._highest

    def accept(self, counter: int) -> bool:
        """Whether ``counter`` is new and not older than the window; a new one is remembered.

        Call it only for a message whose MAC was right, else a forger could push the window forward.
        """
        if counter < 1:
            return False
        ahead = counter - self._highest
        if ahead > 0:
            # A bit per counter; bit 0 is the highest. A jump past the window forgets everything.
            self._seen = 1 if ahead > self._size else (self._seen << ahead | 1) & ((2 << self._size) - 1)
            self._highest = counter
            return True
        if -ahead > self._size or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True
