"""Signatures in a country: the root certifies every node that holds something, and each signs what it registers.

::

    400:99.900/part-1  <--  301:0.ADMIN/SIGNER.demo  <--  310:0.0/0.0
    the node's          the node's key and             the root's key, which is what the HS_PUBKEY
    HS_SIGNATURE        what it may sign               of 0.0/0.0 in bootstrap_handles says

Certificates lie at the root and not in the records of prefixes, so that a prefix may move: what its former holder
signed stays signed, and therefore no node ever loses a permission.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from idnode.country.nodes import CountryNode
from idnode.country.seeding import ROOT_PREFIXES
from idnode.country.writing import ensure, home
from idnode_protocol.handle import from_text
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.registry import Registry
from idnode_registry.trust.chain import ROOT_OWNER, is_certificate
from idnode_registry.trust.claims import Permission, read_claims
from idnode_registry.trust.issue import Issuer, certificate_value, issue_certificate
from idnode_registry.trust.jws import read_jws
from idnode_registry.trust.keys import DEFAULT_RULES, HandleKey, key_from_json
from idnode_registry.trust.sealing import Sealer

ROOT_SIGNER: Final = Reference(ROOT_OWNER, 310)
SIGNER_START: Final = "0.ADMIN/SIGNER."
SIGNER_INDEX: Final = 301
EVERYTHING: Final = (Permission("", "everything"),)


def permissions_for(prefixes: Iterable[str]) -> list[Permission]:
    """What the holder of prefixes registers: the names under them, and the records of derived prefixes."""
    kinds = ("thisHandle", "derivedPrefixes", "handlesUnderThisPrefix")
    return [Permission(f"0.NA/{prefix}", kind) for prefix in prefixes for kind in kinds]


def signer_of(name: str) -> Reference:
    """In whose name a node signs."""
    return Reference(from_text(SIGNER_START + name), SIGNER_INDEX)


async def give_signers(root: CountryNode, members: Iterable[CountryNode], names: Iterable[str], now: float) -> None:
    """Let the root and the holders among ``members`` sign what they register from now on.

    A node's certificate is for the prefixes it holds and all it ever held; the root certifies itself, for everything.
    ``names`` are all nodes there ever were: what a former holder signed is signed anew by who changes it.
    """
    signers = [signer_of(name) for name in names]
    registry, issuer = root.node.registry, Issuer(ROOT_SIGNER, HandleKey(root.node.signer))
    if registry.sealer is None:
        await home(registry, ROOT_PREFIXES, now)
        key = HandleKey(root.node.signer)
        registry.sealer = Sealer(key, await _certificate(registry, ROOT_SIGNER, key, EVERYTHING, issuer, now))
    for member in members:
        if member is not root and member.spec.prefixes:
            subject, key = signer_of(member.name), HandleKey(member.node.signer)
            wanted = permissions_for(member.spec.prefixes)
            certificate = await _certificate(registry, subject, key, wanted, issuer, now)
            member.node.registry.sealer = Sealer(key, certificate, replaces=signers)
            member.node.cache.clear()  # members of ranges may have been answered unsigned


async def _certificate(
    registry: Registry, subject: Reference, key: HandleKey, wanted: Sequence[Permission], issuer: Issuer, now: float
) -> bytes:
    """The certificate in the root's ``registry``: the one there stays if it is about this key and says enough."""
    stored = next((value for value in registry.values(subject.handle) or () if _is_about(value, subject, key)), None)
    known = () if stored is None else read_claims(read_jws(stored.data).payload).permissions
    if stored is not None and set(wanted) <= set(known):
        return stored.data
    permissions = list(dict.fromkeys((*known, *wanted)))
    octets = issue_certificate(subject, key, permissions, issuer, now)
    await ensure(registry, subject.handle, [certificate_value(subject.index, octets, now)], now)
    return octets


def _is_about(value: HandleValue, subject: Reference, key: HandleKey) -> bool:
    if value.index != subject.index or not is_certificate(value):
        return False
    public = read_claims(read_jws(value.data).payload).public_key
    return public is not None and key_from_json(public, DEFAULT_RULES) == key_from_json(key.public_json, DEFAULT_RULES)
