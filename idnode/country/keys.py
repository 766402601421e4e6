"""RSA keys for simulated nodes, out of a pool that is published with the software.

Making a key takes a tenth of a second and more; a country of eighty nodes would need half a minute. Since anybody has
these keys, they protect nothing: a node takes them on loopback only (:func:`refuse_test_key`), and ``serve`` makes its
own.
"""

from __future__ import annotations

import hashlib
import ipaddress
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from idnode_registry.crypto import KeyRefused, Signer

POOL_FILE: Final = "PUBLIC_TEST_KEYS.pem"
KEYS: Final = 24
_BEGIN: Final = b"-----BEGIN"


@cache
def pool() -> tuple[Signer, ...]:
    """The public test keys, loaded once. They are our own file: their arithmetic is not checked again."""
    octets = pkgutil.get_data(__package__, POOL_FILE)
    assert octets is not None
    signers = []
    for part in octets.split(_BEGIN)[1:]:
        key = load_pem_private_key(_BEGIN + part, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, rsa.RSAPrivateKey)
        signers.append(Signer(key))
    return tuple(signers)


@cache
def _order(seed: int) -> tuple[int, ...]:
    """The pool's places in an order drawn by the seed."""
    return tuple(sorted(range(KEYS), key=lambda place: hashlib.sha256(f"{seed}/{place}".encode()).digest()))


def drawn_key(seed: int, number: int) -> Signer:
    """Key ``number`` of the country with that seed; after 24 of them they come again."""
    return pool()[_order(seed)[number % KEYS]]


def is_test_key(public_key_octets: bytes) -> bool:
    """Whether the private part of a key is published with this software."""
    return any(signer.public_key_octets == public_key_octets for signer in pool())


def refuse_test_key(signer: Signer, addresses: Iterable[str]) -> None:
    """Raise :class:`KeyRefused` for a public test key on an address that others can reach."""
    exposed = [text for text in addresses if not ipaddress.ip_address(text.partition("%")[0]).is_loopback]
    if exposed and is_test_key(signer.public_key_octets):
        raise KeyRefused(
            f"the server's key is one of the public test keys, which anybody has; they are for loopback, not for "
            f"{exposed[0]}: make a key of your own with `idnode key new`"
        )
