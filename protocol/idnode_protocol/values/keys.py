"""HS_PUBKEY and the private keys of local files (docs/protocol.md §2.6). Structure only, no arithmetic.

Integers are counted, minimal two's-complement big-endian: one leading zero octet when the top bit is set. An integer
written longer than that is refused, as is a negative one: kept silently, it would come back with other octets and
break the record signatures that cover it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idnode_protocol.errors import Malformed, NotEncodable, Unsupported
from idnode_protocol.limits import KEY_INTEGER_OCTETS_MAX
from idnode_protocol.octets import Reader, Writer

RSA_TAIL: Final = bytes(4)
"""Follows the modulus of every RSA public key the reference writes; signatures cover it, readers ignore it."""
RSA_PUBLIC: Final = "RSA_PUB_KEY"
DSA_PUBLIC: Final = "DSA_PUB_KEY"
DH_PUBLIC: Final = "DH_PUB_KEY"
RSA_PRIVATE: Final = "RSA_PRIV_KEY"
RSA_PRIVATE_CRT: Final = "RSA_PRIVCRT_KEY"
DSA_PRIVATE: Final = "DSA_PRIV_KEY"


def encode_integer(writer: Writer, value: int) -> None:
    """A non-negative integer; raises :class:`NotEncodable` for a negative or oversized one."""
    if value < 0:
        raise NotEncodable("a key holds a negative integer")
    octets = value.to_bytes(value.bit_length() // 8 + 1, "big")
    if len(octets) > KEY_INTEGER_OCTETS_MAX:
        raise NotEncodable(f"a key integer of {value.bit_length()} bits is longer than 16,384 bits")
    writer.counted(octets)


def decode_integer(reader: Reader) -> int:
    """A non-negative integer in its minimal form; raises :class:`RemoteError` subclasses."""
    start = reader.position
    octets = reader.counted(KEY_INTEGER_OCTETS_MAX)
    if not octets:
        raise Malformed("a key integer without octets", start)
    if octets[0] & 0x80:
        raise Malformed("a key integer is negative; its leading zero octet is missing", start)
    if len(octets) > 1 and octets[0] == 0 and octets[1] < 0x80:
        raise Malformed("a key integer has needless leading zero octets", start)
    return int.from_bytes(octets, "big")


def _pack(kind: str, flags: int | None, integers: tuple[int, ...], tail: bytes = b"") -> bytes:
    writer = Writer().text(kind)
    if flags is not None:
        writer.u16(flags)
    for integer in integers:
        encode_integer(writer, integer)
    return writer.raw(tail).to_octets()


def _open(octets: bytes, *kinds: str) -> tuple[str, Reader]:
    reader = Reader(octets)
    kind = reader.text()
    if kind not in kinds:
        raise Unsupported(f"key of kind {kind[:32]!r}; known here: {', '.join(kinds)}")
    return kind, reader


@dataclass(frozen=True, slots=True)
class RsaPublicKey:
    """Exponent ``e``, modulus ``n``; ``tail`` is whatever followed them."""

    e: int
    n: int
    flags: int = 0
    tail: bytes = RSA_TAIL

    def to_octets(self) -> bytes:
        return _pack(RSA_PUBLIC, self.flags, (self.e, self.n), self.tail)

    @classmethod
    def from_octets(cls, octets: bytes) -> RsaPublicKey:
        _, reader = _open(octets, RSA_PUBLIC)
        return cls._read(reader)

    @classmethod
    def _read(cls, reader: Reader) -> RsaPublicKey:
        flags, e, n = reader.u16(), decode_integer(reader), decode_integer(reader)
        return cls(e, n, flags, reader.rest())


@dataclass(frozen=True, slots=True)
class DsaPublicKey:
    """Parameters ``q``, ``p``, ``g`` and the public ``y``."""

    q: int
    p: int
    g: int
    y: int
    flags: int = 0
    tail: bytes = b""

    def to_octets(self) -> bytes:
        return _pack(DSA_PUBLIC, self.flags, (self.q, self.p, self.g, self.y), self.tail)

    @classmethod
    def from_octets(cls, octets: bytes) -> DsaPublicKey:
        _, reader = _open(octets, DSA_PUBLIC)
        return cls._read(reader)

    @classmethod
    def _read(cls, reader: Reader) -> DsaPublicKey:
        flags = reader.u16()
        q, p, g, y = (decode_integer(reader) for _ in range(4))
        return cls(q, p, g, y, flags, reader.rest())


@dataclass(frozen=True, slots=True)
class DhPublicKey:
    """The public ``y`` and its group ``p``, ``g``, as sent when a session is set up."""

    y: int
    p: int
    g: int
    flags: int = 0
    tail: bytes = b""

    def to_octets(self) -> bytes:
        return _pack(DH_PUBLIC, self.flags, (self.y, self.p, self.g), self.tail)

    @classmethod
    def from_octets(cls, octets: bytes) -> DhPublicKey:
        _, reader = _open(octets, DH_PUBLIC)
        return cls._read(reader)

    @classmethod
    def _read(cls, reader: Reader) -> DhPublicKey:
        flags, y, p, g = reader.u16(), decode_integer(reader), decode_integer(reader), decode_integer(reader)
        return cls(y, p, g, flags, reader.rest())


PublicKey = RsaPublicKey | DsaPublicKey | DhPublicKey


def decode_public_key(octets: bytes) -> PublicKey:
    """The public key in ``octets``; raises :class:`Unsupported` for another kind, else :class:`RemoteError`."""
    kind, reader = _open(octets, RSA_PUBLIC, DSA_PUBLIC, DH_PUBLIC)
    if kind == RSA_PUBLIC:
        return RsaPublicKey._read(reader)
    return DsaPublicKey._read(reader) if kind == DSA_PUBLIC else DhPublicKey._read(reader)


@dataclass(frozen=True, slots=True)
class RsaPrivateKey:
    """Modulus and private exponent only."""

    n: int
    d: int

    def to_octets(self) -> bytes:
        return _pack(RSA_PRIVATE, None, (self.n, self.d))

    @classmethod
    def from_octets(cls, octets: bytes) -> RsaPrivateKey:
        _, reader = _open(octets, RSA_PRIVATE)
        return cls(*_integers(reader, 2))


@dataclass(frozen=True, slots=True)
class RsaPrivateCrtKey:
    """A private key with its primes and remainders (RFC 8017 §3.2)."""

    n: int
    e: int
    d: int
    p: int
    q: int
    dp: int
    dq: int
    q_inverse: int

    def to_octets(self) -> bytes:
        integers = (self.n, self.e, self.d, self.p, self.q, self.dp, self.dq, self.q_inverse)
        return _pack(RSA_PRIVATE_CRT, None, integers)

    @classmethod
    def from_octets(cls, octets: bytes) -> RsaPrivateCrtKey:
        _, reader = _open(octets, RSA_PRIVATE_CRT)
        return cls(*_integers(reader, 8))


@dataclass(frozen=True, slots=True)
class DsaPrivateKey:
    """The private ``x`` and its parameters."""

    x: int
    p: int
    q: int
    g: int

    def to_octets(self) -> bytes:
        return _pack(DSA_PRIVATE, None, (self.x, self.p, self.q, self.g))

    @classmethod
    def from_octets(cls, octets: bytes) -> DsaPrivateKey:
        _, reader = _open(octets, DSA_PRIVATE)
        return cls(*_integers(reader, 4))


PrivateKey = RsaPrivateKey | RsaPrivateCrtKey | DsaPrivateKey


def _integers(reader: Reader, number: int) -> tuple[int, ...]:
    integers = tuple(decode_integer(reader) for _ in range(number))
    reader.finish()
    return integers


def decode_private_key(octets: bytes) -> PrivateKey:
    """The plain private key in ``octets``; raises :class:`Unsupported` for another kind, else :class:`RemoteError`."""
    kind, _ = _open(octets, RSA_PRIVATE, RSA_PRIVATE_CRT, DSA_PRIVATE)
    if kind == RSA_PRIVATE:
        return RsaPrivateKey.from_octets(octets)
    return RsaPrivateCrtKey.from_octets(octets) if kind == RSA_PRIVATE_CRT else DsaPrivateKey.from_octets(octets)
