"""What a signature or certificate says: the payload of its container, read and written (docs/protocol.md §8.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from idnode_protocol.errors import ProtocolError
from idnode_protocol.handle import from_text, same_name, to_text
from idnode_protocol.json_members import JsonObject, as_array, as_integer, as_text
from idnode_protocol.value import Reference
from idnode_registry.trust.errors import ClaimsRefused, JwsRefused
from idnode_registry.trust.jws import parse_bounded
from idnode_registry.trust.limits import CHAIN_LINKS_MAX

SECONDS_MAX: Final = 2**53
INDEX_MAX: Final = 2**31 - 1


def parse_entity(text: str) -> Reference:
    """``index:handle``, or a handle alone (index 0), as ``iss``, ``sub``, ``chain`` have it; raises ProtocolError."""
    index, colon, handle = text.partition(":")
    if colon and index.isascii() and index.isdigit() and len(index) <= 10 and int(index) <= INDEX_MAX:
        return Reference(from_text(handle), int(index))
    return Reference(from_text(text), 0)


def entity_text(reference: Reference) -> str:
    """``index:handle``, or the handle alone for index 0."""
    name = to_text(reference.handle)
    return f"{reference.index}:{name}" if reference.index else name


def same_entity(a: str, b: str) -> bool:
    """Whether two names of entities are the same: index and suffix to the letter, the prefix without case."""
    first, second = parse_entity(a), parse_entity(b)
    return first.index == second.index and same_name(first.handle, second.handle)


@dataclass(frozen=True, slots=True)
class Permission:
    """``kind`` is a name of :data:`idnode_registry.trust.scopes.SCOPES`; others are kept, and permit nothing."""

    handle: str
    kind: str


@dataclass(frozen=True, slots=True)
class DigestList:
    """``entries``: (index, base64 of the digest), no index twice."""

    algorithm: str
    entries: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Claims:
    """A payload. Times in seconds since 1970; ``public_key`` is the JSON form of the subject's key."""

    issuer: str
    subject: str
    not_before: float | None = None
    expires: float | None = None
    issued_at: float | None = None
    digests: DigestList | None = None
    permissions: tuple[Permission, ...] = ()
    public_key: JsonObject | None = None
    chain: tuple[str, ...] = ()
    content: str | None = None

    @property
    def is_self_issued(self) -> bool:
        return same_entity(self.issuer, self.subject)


def read_claims(payload: bytes) -> Claims:
    """The claims in a payload; raises :class:`ClaimsRefused`. Members nobody knows are passed over."""
    try:
        members = parse_bounded(payload, "payload")
        return Claims(
            issuer=_entity(members, "iss"),
            subject=_entity(members, "sub"),
            not_before=_seconds(members, "nbf"),
            expires=_seconds(members, "exp"),
            issued_at=_seconds(members, "iat"),
            digests=_digests(members.get("digests")),
            permissions=_permissions(members.get("perms")),
            public_key=_object_or_none(members, "publicKey"),
            chain=_chain(members.get("chain")),
            content=None if members.get("content") is None else as_text(members["content"], "content"),
        )
    except (JwsRefused, ProtocolError) as wrong:
        raise ClaimsRefused(str(wrong)) from wrong


def _entity(members: JsonObject, name: str) -> str:
    if members.get(name) is None:
        raise ClaimsRefused(f"the payload's member {name} is missing")
    text = as_text(members[name], name)
    parse_entity(text)
    return text


def _seconds(members: JsonObject, name: str) -> float | None:
    found = members.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= SECONDS_MAX:
        raise ClaimsRefused(f"the payload's member {name} must be a number of seconds since 1970")
    return float(found)


def _object_or_none(members: JsonObject, name: str) -> JsonObject | None:
    found = members.get(name)
    if found is not None and not isinstance(found, dict):
        raise ClaimsRefused(f"the payload's member {name} must be an object")
    return found


def _digests(item: object) -> DigestList | None:
    if item is None:
        return None
    if not isinstance(item, dict):
        raise ClaimsRefused("the payload's member digests must be an object")
    entries = []
    for place, entry in enumerate(as_array(item.get("digests"), "digests.digests")):
        if not isinstance(entry, dict):
            raise ClaimsRefused(f"digests.digests[{place}] must be an object")
        index = as_integer(entry.get("index"), f"digests.digests[{place}].index", -INDEX_MAX - 1, INDEX_MAX)
        entries.append((index, as_text(entry.get("digest"), f"digests.digests[{place}].digest")))
    if len({index for index, _ in entries}) != len(entries):
        raise ClaimsRefused("an index stands twice among the digests")
    return DigestList(as_text(item.get("alg"), "digests.alg"), tuple(entries))


def _permissions(item: object) -> tuple[Permission, ...]:
    made = []
    for place, entry in enumerate([] if item is None else as_array(item, "perms")):
        if not isinstance(entry, dict):
            raise ClaimsRefused(f"perms[{place}] must be an object")
        kind, handle = as_text(entry.get("perm"), f"perms[{place}].perm"), entry.get("handle")
        made.append(Permission("" if handle is None else as_text(handle, f"perms[{place}].handle"), kind))
    return tuple(made)


def _chain(item: object) -> tuple[str, ...]:
    if item is None:
        return ()
    names = as_array(item, "chain")
    if len(names) > 2 * CHAIN_LINKS_MAX:
        raise ClaimsRefused(f"the chain names {len(names)} places, more than {2 * CHAIN_LINKS_MAX}")
    texts = tuple(as_text(name, f"chain[{place}]") for place, name in enumerate(names))
    for text in texts:
        parse_entity(text)
    return texts


def write_claims(claims: Claims) -> bytes:
    """The payload, as the reference's reader takes it; members without content are left out."""
    members: JsonObject = {}
    if claims.digests is not None:
        entries = [{"index": index, "digest": digest} for index, digest in claims.digests.entries]
        members["digests"] = {"alg": claims.digests.algorithm, "digests": entries}
    if claims.permissions:
        members["perms"] = [{"handle": each.handle, "perm": each.kind} for each in claims.permissions]
    if claims.public_key is not None:
        members["publicKey"] = claims.public_key
    if claims.chain:
        members["chain"] = list(claims.chain)
    members["iss"], members["sub"] = claims.issuer, claims.subject
    for name, seconds in (("exp", claims.expires), ("nbf", claims.not_before), ("iat", claims.issued_at)):
        if seconds is not None:
            members[name] = int(seconds)
    if claims.content is not None:
        members["content"] = claims.content
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def chain_of(names: Sequence[Reference]) -> tuple[str, ...]:
    """The ``chain`` member that names these certificates, nearest first."""
    return tuple(entity_text(name) for name in names)
