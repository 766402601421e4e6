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


async def give_signers(root: CountryNode, members: Iterable[CountryNode], now: float) -> None:
    """Let the root and the holders among ``members`` sign what they register from now on.

    A node's certificate is for the prefixes it holds and all it ever held; the root certifies itself, for everything.
    """
    registry, issuer = root.node.registry, Issuer(ROOT_SIGNER, HandleKey(root.node.signer))
    if registry.sealer is None:
        await home(registry, ROOT_PREFIXES, now)
        registry.sealer = await _certify(registry, ROOT_SIGNER, HandleKey(root.node.signer), EVERYTHING, issuer, now)
    for member in members:
        if member is not root and member.spec.prefixes:
            subject = Reference(from_text(SIGNER_START + member.name), SIGNER_INDEX)
            wanted, key = permissions_for(member.spec.prefixes), HandleKey(member.node.signer)
            member.node.registry.sealer = await _certify(registry, subject, key, wanted, issuer, now)


async def _certify(
    registry: Registry, subject: Reference, key: HandleKey, wanted: Sequence[Permission], issuer: Issuer, now: float
) -> Sealer:
    """What is there already stays if it is about this key and says enough."""
    stored = next((value for value in registry.values(subject.handle) or () if _is_about(value, subject, key)), None)
    known = () if stored is None else read_claims(read_jws(stored.data).payload).permissions
    if stored is not None and set(wanted) <= set(known):
        return Sealer(key, stored.data)
    permissions = list(dict.fromkeys((*known, *wanted)))
    octets = issue_certificate(subject, key, permissions, issuer, now)
    await ensure(registry, subject.handle, [certificate_value(subject.index, octets, now)], now)
    return Sealer(key, octets)


def _is_about(value: HandleValue, subject: Reference, key: HandleKey) -> bool:
    if value.index != subject.index or not is_certificate(value):
        return False
    public = read_claims(read_jws(value.data).payload).public_key
    return public is not None and key_from_json(public, DEFAULT_RULES) == key_from_json(key.public_json, DEFAULT_RULES)
