"""A random chain from a root to a record, whole: 0.0/0.0, 0.NA/0.NA, one to three prefixes, a signed record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from idnode_protocol.value import HandleValue, Reference
from idnode_registry.trust.claims import Permission
from idnode_registry.trust.issue import SIGNATURE_INDEX
from idnode_registry.trust.keys import JwsKey
from idnode_registry.trust.lab.drafts import Certificate, Draft, Signing
from idnode_registry.trust.lab.seeded import Dice

CERTIFICATE_INDEX: Final = 301
PREFIXES_MAX: Final = 3
VALUES_MAX: Final = 6
EVERYTHING: Final = (Permission("", "everything"),)
KINDS: Final = ("URL", "DESC", "EMAIL", "10320/loc", "99.TYPE/lot")


def permissions_of(prefix: bytes) -> tuple[Permission, ...]:
    """What the holder of a prefix may sign: its own handle, the names under it, everything under derived prefixes."""
    own = f"0.NA/{prefix.decode('ascii')}"
    return tuple(Permission(own, kind) for kind in ("thisHandle", "derivedPrefixes", "handlesUnderThisPrefix"))


def make_draft(dice: Dice, now: float, new_key: Callable[[], JwsKey], prefix: bytes = b"") -> Draft:
    """A chain that is whole; ``new_key`` gives one key after another, all different.

    ``prefix`` (``99.900``) is the one whose holder signs; without it one is drawn, one to three levels below ``99``.
    """
    root = Certificate(Reference(b"0.0/0.0", CERTIFICATE_INDEX), new_key(), EVERYTHING)
    authority = Certificate(Reference(b"0.NA/0.NA", CERTIFICATE_INDEX), new_key(), EVERYTHING, root)
    certificates = [root, authority]
    for level in [prefix] if prefix else _levels(dice):
        name = Reference(b"0.NA/" + level, CERTIFICATE_INDEX + dice.below(9))
        certificates.append(Certificate(name, new_key(), permissions_of(level), certificates[-1]))
    handle = certificates[-1].subject.handle.removeprefix(b"0.NA/") + b"/part-%d" % dice.below(10**6)
    index = SIGNATURE_INDEX + dice.below(20)
    signing = Signing(index, certificates[-1])
    return Draft(handle, _values(dice, now), certificates, signing, now, new_key, names_chain=dice.below(2) == 0)


def _levels(dice: Dice) -> list[bytes]:
    """Prefixes, each derived from the one before."""
    made = [b"99.%d" % (1 + dice.below(999))]
    for _ in range(dice.below(PREFIXES_MAX)):
        made.append(made[-1] + b".%d" % (1 + dice.below(999)))
    return made


def _values(dice: Dice, now: float) -> list[HandleValue]:
    """At least two public values, and sometimes a secret one."""
    indexes = sorted(dice.sample(range(1, 100), 2 + dice.below(VALUES_MAX - 1)))
    made = [
        HandleValue(index, dice.pick(KINDS), b"https://example.org/%d" % dice.below(10**9), 60 * (1 + dice.below(9)))
        for index in indexes
    ]
    if dice.below(2):
        made.append(HandleValue(300, "HS_SECKEY", b"a fictional secret", permissions=0x0C))
    return [HandleValue(v.index, v.type, v.data, v.ttl, v.permissions, int(now)) for v in made]
