"""Ways to forge or alter a signature, one function each: (random source, honest one) -> octets never to be accepted."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from idnode_registry.trust.jws import from_base64url, signing_input, to_base64url
from idnode_registry.trust.keys import Ed25519Key, HandleKey, JwsKey, P256Key

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
SMALL_POINTS = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    )
]
ALGORITHMS = "RS256 RS384 RS512 DS256 ES256 EdDSA HS256 HS384 HS512 PS256 none None NONE RS1 RS160 ES256K".split()


@dataclass(frozen=True)
class Honest:
    """What one key signed: ``octets`` is the container, ``other`` another of the same key, ``stranger`` another key."""

    key: JwsKey
    payload: bytes
    octets: bytes
    other: bytes
    stranger: JwsKey

    @property
    def parts(self) -> tuple[bytes, bytes, bytes]:
        header, payload, signature = self.octets.split(b".")
        return header, payload, signature

    @property
    def signature(self) -> bytes:
        return from_base64url(self.parts[2], "signature")


Forge = Callable[[Random, Honest], bytes]


def joined(header: bytes, payload: bytes, signature: bytes) -> bytes:
    """A container of decoded parts."""
    return b".".join(map(to_base64url, (header, payload, signature)))


def with_signature(honest: Honest, signature: bytes) -> bytes:
    return honest.octets.rpartition(b".")[0] + b"." + to_base64url(signature)


def flipped(rng: Random, octets: bytes) -> bytes:
    bit = rng.randrange(8 * len(octets))
    changed = bytearray(octets)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def header_of(**members: Any) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def flip_anywhere(rng: Random, honest: Honest) -> bytes:
    parts = [from_base64url(part, "part") for part in honest.parts]
    place = rng.randrange(3)
    parts[place] = flipped(rng, parts[place])
    return joined(*parts)


def flip_text(rng: Random, honest: Honest) -> bytes:
    return flipped(rng, honest.octets)


def swap_algorithm(rng: Random, honest: Honest) -> bytes:
    name = rng.choice([each for each in ALGORITHMS if each != honest.key.algorithm])
    signature = rng.choice([honest.signature, b"", bytes(64), bytes(256)])
    return joined(header_of(alg=name), honest.payload, signature)


def public_key_as_secret(rng: Random, honest: Honest) -> bytes:
    shown = honest.key.public_json
    secrets = [json.dumps(shown).encode(), b"", *(str(text).encode() for text in shown.values())]
    if isinstance(honest.key, HandleKey):
        public = honest.key.signer.tls_key.public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        secrets += [
            public.public_bytes(serialization.Encoding.PEM, form),
            public.public_bytes(serialization.Encoding.DER, form),
            honest.key.signer.public_key_octets,
        ]
    name, digest = rng.choice([("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512"), ("RS256", "sha256")])
    signed = signing_input(name, honest.payload)
    return signed + b"." + to_base64url(hmac.new(rng.choice(secrets), signed, digest).digest())


def another_key(rng: Random, honest: Honest) -> bytes:
    """By a stranger's key, the header claiming the honest one's name or bringing the stranger's key along."""
    extra: dict[str, Any] = rng.choice(
        [{}, {"kid": "301:0.NA/99.900"}, {"jwk": honest.stranger.public_json}, {"jku": "https://evil.example/"}]
    )
    header = header_of(alg=honest.stranger.algorithm, **extra)
    signed = to_base64url(header) + b"." + to_base64url(flipped(rng, honest.payload))
    return signed + b"." + to_base64url(honest.stranger.sign(signed))


def swap_payload(rng: Random, honest: Honest) -> bytes:
    header, payload, _ = honest.parts
    other = honest.other.split(b".")
    return rng.choice([b".".join((header, other[1], honest.parts[2])), b".".join((header, payload, other[2]))])


def properly_signed_header(rng: Random, honest: Honest) -> bytes:
    """The key's own signature, over a header with two readings or demands."""
    name = honest.key.algorithm
    header = rng.choice(
        [
            f'{{"alg":"{name}","alg":"none"}}',
            f'{{"alg":"none","alg":"{name}"}}',
            f'{{"alg":"{name}","b64":false,"crit":["b64"]}}',
            f'{{"alg":"{name}","crit":[]}}',
            f'{{"alg":"{name}","jwk":{json.dumps(honest.stranger.public_json)}}}',
            f'{{"alg":"{name}","x5u":"https://evil.example/"}}',
            f'{{"alg":"{name}","zip":"DEF"}}',
            f'{{"alg":["{name}"]}}',
            f'{{"ALG":"{name}"}}',
        ]
    ).encode()
    signed = to_base64url(header) + b"." + to_base64url(honest.payload)
    return signed + b"." + to_base64url(honest.key.sign(signed))


def properly_signed_payload(rng: Random, honest: Honest) -> bytes:
    """The key's own signature, over a payload in which a member stands twice (once by another spelling)."""
    member = rng.choice([b'"sub":"99.900/evil",', b'"\\u0073ub":"99.900/evil",', b'"iss":"301:0.0/0.0",', b'"exp":1,'])
    signed = signing_input(honest.key.algorithm, b"{" + member + b'"exp":2,"iss":"1:a/b",' + honest.payload[1:])
    return signed + b"." + to_base64url(honest.key.sign(signed))


def cut_or_longer(rng: Random, honest: Honest) -> bytes:
    signature = honest.signature
    tail = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 8)))
    cut = signature[: rng.randrange(1, len(signature))]
    return with_signature(
        honest, rng.choice([signature + tail, tail + signature, cut, signature[1:], b"\0" + signature])
    )


def spelled_differently(rng: Random, honest: Honest) -> bytes:
    """The same octets in another spelling of base64url, or in a container of another form."""
    header, payload, signature = honest.parts
    padded = [part + b"=" * (-len(part) % 4) for part in honest.parts]
    loose = {"payload": payload.decode(), "protected": header.decode(), "signature": signature.decode()}
    open_header = {"header": {"kid": "x"}, **loose}
    return rng.choice(
        [
            b".".join((header, payload, signature + b"=")),
            b".".join((header + b"\n", payload, signature)),
            b".".join((header, b" " + payload, signature)),
            b".".join((header, payload, signature, b"")),
            b".".join(padded) if padded != list(honest.parts) else honest.octets + b"==",
            json.dumps(loose).encode(),
            json.dumps({"payload": payload.decode(), "signatures": [open_header]}).encode(),
            json.dumps({"payload": payload.decode(), "signatures": []}).encode(),
            honest.octets + b"\0",
        ]
    )


def edge_numbers(rng: Random, honest: Honest) -> bytes:
    """Signatures made of the numbers at which arithmetic fails: 0, 1, the order, its neighbours; shifted ones."""
    key = honest.key
    if isinstance(key, P256Key):
        edges = [0, 1, 2, P256_ORDER - 1, P256_ORDER, P256_ORDER + 1, 2**256 - 1, rng.randrange(2**256)]
        first, second = (rng.choice(edges).to_bytes(32, "big") for _ in range(2))
        own = honest.signature
        return with_signature(honest, rng.choice([first + second, own[:32] + second, first + own[32:]]))
    if isinstance(key, Ed25519Key):
        point, s = honest.signature[:32], int.from_bytes(honest.signature[32:], "little")
        shifted = rng.choice([s + ED25519_ORDER * n for n in range(1, 14) if s + ED25519_ORDER * n < 2**256])
        small = rng.choice(SMALL_POINTS), rng.choice([0, 1, ED25519_ORDER, ED25519_ORDER - 1, rng.randrange(2**252)])
        point, s = rng.choice([(point, shifted), small])
        return with_signature(honest, point + s.to_bytes(32, "little"))
    assert isinstance(key, HandleKey)
    n = key.signer.tls_key.public_key().public_numbers().n
    size = (n.bit_length() + 7) // 8
    number = int.from_bytes(honest.signature, "big")
    edge = rng.choice([0, 1, 2, n - 1, n, n + 1, n - number, number + n, rng.randrange(n)])
    return with_signature(honest, edge.to_bytes(size + 1, "big") if edge >> 8 * size else edge.to_bytes(size, "big"))


FORGERIES: dict[str, Forge] = {
    each.__name__: each
    for each in (
        flip_anywhere,
        flip_text,
        swap_algorithm,
        public_key_as_secret,
        swap_payload,
        cut_or_longer,
        spelled_differently,
        edge_numbers,
    )
}
"""Cheap ones; the next two tables sign."""
SIGNING_FORGERIES: dict[str, Forge] = {
    each.__name__: each for each in (another_key, properly_signed_header, properly_signed_payload)
}


def padded_digest(message: bytes, size: int) -> bytes:
    """EMSA-PKCS1-v1_5 of SHA-256 (RFC 8017 §9.2)."""
    info = SHA256_INFO + hashlib.sha256(message).digest()
    return b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info


def bad_paddings(rng: Random, message: bytes, size: int) -> list[bytes]:
    """What careless checks of PKCS #1 v1.5 accept: garbage behind the digest, short padding, other encodings."""
    digest = hashlib.sha256(message).digest()
    info = SHA256_INFO + digest
    garbage = bytes(rng.randrange(256) for _ in range(size))
    no_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest
    ber = bytes.fromhex("308131300d060960864801650304020105000420") + digest
    other_hash = bytes.fromhex("3021300906052b0e03021a05000414") + hashlib.sha1(message).digest()

    def filled(start: bytes, tail: bytes) -> bytes:
        return start + b"\xff" * (size - len(start) - 1 - len(tail)) + b"\0" + tail

    return [
        (b"\0\1" + b"\xff" * 8 + b"\0" + info + garbage)[:size],
        (b"\0\1\0" + info + garbage)[:size],
        filled(b"\0\1", info + garbage[:8]),
        filled(b"\0\1", no_null),
        filled(b"\0\1", ber),
        filled(b"\0\1", other_hash),
        filled(b"\0\1", digest),
        filled(b"\0\2", info),
        filled(b"\1\1", info),
        b"\0\1" + garbage[: size - 3 - len(info)].replace(b"\xff", b"\xfe") + b"\0" + info,
    ]


def raw_rsa(private: rsa.RSAPrivateKey, block: bytes) -> bytes:
    """The bare power: what a signature over that block would be."""
    numbers = private.private_numbers()
    n = numbers.public_numbers.n
    size = (n.bit_length() + 7) // 8
    return pow(int.from_bytes(block, "big") % n, numbers.d, n).to_bytes(size, "big")


def cube_root_forgery(rng: Random, message: bytes, size: int) -> bytes:
    """For exponent 3, without the private key: a number whose cube begins like a padded digest."""
    start = b"\0\1" + b"\xff" * rng.randrange(1, 12) + b"\0" + SHA256_INFO + hashlib.sha256(message).digest()
    wanted = int.from_bytes(start + b"\xff" * (size - len(start)), "big")
    low, high = 0, 1 << (8 * size // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= wanted else (low, middle - 1)
    return low.to_bytes(size, "big")
