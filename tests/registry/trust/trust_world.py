"""A small tree of signed handles for the tests: root, authority, prefix, record; keys made once per process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from idnode_protocol.value import HandleValue, Reference
from idnode_registry.crypto import Signer
from idnode_registry.trust.claims import Permission
from idnode_registry.trust.issue import Issuer, certificate_value, issue_certificate, sign_record
from idnode_registry.trust.judge import Trust, judge_record, run
from idnode_registry.trust.keys import DEFAULT_RULES, HandleKey, JwsKey, KeyRules, key_from_json
from idnode_registry.trust.verdicts import RecordVerdict
from idnode_registry.trust.work import Budget

NOW = 1_800_000_000.0
HANDLE = b"99.900/part-1"
ROOT = Reference(b"0.0/0.0", 301)
AUTHORITY = Reference(b"0.NA/0.NA", 301)
PREFIX = Reference(b"0.NA/99.900", 301)
EVERYTHING = (Permission("", "everything"),)
UNDER_PREFIX = (Permission("0.NA/99.900", "handlesUnderThisPrefix"),)
VALUES = (
    HandleValue(1, "URL", b"https://example.org/part/1", timestamp=int(NOW)),
    HandleValue(2, "DESC", b"a fictional part", timestamp=int(NOW)),
    HandleValue(300, "HS_SECKEY", b"fictional", permissions=0x0C, timestamp=int(NOW)),
)


@cache
def key(number: int) -> HandleKey:
    """The RSA key of a number; the same all through a run."""
    return HandleKey(Signer.generate())


@dataclass
class World:
    """Handles with their values; ``roots`` are trusted."""

    handles: dict[bytes, tuple[HandleValue, ...]] = field(default_factory=dict)
    roots: tuple[JwsKey, ...] = ()

    def certify(
        self,
        subject: Reference,
        subject_key: JwsKey,
        issuer: Issuer,
        permissions: Sequence[Permission] = EVERYTHING,
        now: float = NOW,
    ) -> None:
        octets = issue_certificate(subject, subject_key, permissions, issuer, now)
        others = [value for value in self.handles.get(subject.handle, ()) if value.index != subject.index]
        self.handles[subject.handle] = (*others, certificate_value(subject.index, octets, now))

    def verdict(
        self,
        values: Sequence[HandleValue],
        handle: bytes = HANDLE,
        now: float = NOW,
        rules: KeyRules = DEFAULT_RULES,
        budget: Budget | None = None,
        trust: Trust | None = None,
    ) -> RecordVerdict:
        roots = tuple(key_from_json(root.public_json, rules) for root in self.roots)
        return run(judge_record(handle, values, trust or Trust(roots, rules), now, budget), self.handles.get)


def small_world(keys: Mapping[Reference, JwsKey] | None = None) -> tuple[World, Issuer]:
    """The tree, and who signs under 99.900."""
    chosen = dict(keys or {ROOT: key(0), AUTHORITY: key(1), PREFIX: key(2)})
    world = World(roots=(chosen[ROOT],))
    world.certify(ROOT, chosen[ROOT], Issuer(ROOT, chosen[ROOT]))
    world.certify(AUTHORITY, chosen[AUTHORITY], Issuer(ROOT, chosen[ROOT]))
    world.certify(PREFIX, chosen[PREFIX], Issuer(AUTHORITY, chosen[AUTHORITY]), UNDER_PREFIX)
    return world, Issuer(PREFIX, chosen[PREFIX], (PREFIX, AUTHORITY, ROOT))


def signed_record() -> tuple[World, Issuer, tuple[HandleValue, ...]]:
    """The tree, its signer, and a record it signed."""
    world, issuer = small_world()
    return world, issuer, sign_record(HANDLE, VALUES, issuer, NOW)
