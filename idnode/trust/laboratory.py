"""The trust laboratory in a folder: a chain made from a seed, with the files a node and a verifier need."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode_protocol.handle import to_text
from idnode_protocol.json_form import value_to_json
from idnode_protocol.json_members import parse_json
from idnode_registry.keystore import write_private_key
from idnode_registry.trust.errors import SigningRefused
from idnode_registry.trust.keys import HandleKey
from idnode_registry.trust.lab.defects import DEFECTS, broken
from idnode_registry.trust.lab.drafts import WHOLE, Draft, Sample
from idnode_registry.trust.lab.making import make_draft
from idnode_registry.trust.lab.seeded import Dice, seeded_key, seeded_octets
from idnode_registry.trust.lab.vectors import samples_from_json, samples_to_json

CASE: Final = "case.json"
SEED: Final = "seed.json"
SECRET_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a chain follows from: the same recipe gives the same keys, names, values and times."""

    seed: str
    prefix: str
    now: float

    @classmethod
    def drawn(cls, adapters: Adapters, seed: str | None, prefix: str) -> Recipe:
        """With a seed of its own unless one is given; at the present time."""
        return cls(seed or adapters.rng.octets(16).hex(), prefix, float(int(adapters.clock.now())))

    def draft(self) -> tuple[Draft, Dice]:
        """The chain before it is signed, and the dice for what comes after. Takes about half a second a key."""
        dice = Dice(seeded_octets(self.seed))
        return make_draft(dice, self.now, lambda: HandleKey(seeded_key(dice.octets)), self.prefix.encode("utf-8")), dice

    def whole(self) -> Sample:
        return self.draft()[0].build("whole", "nothing is wrong", WHOLE)

    def broken(self, name: str) -> Sample:
        """With one defect; raises :class:`SigningRefused` for a name that is not in the list."""
        if name not in DEFECTS:
            raise SigningRefused(f"there is no defect {name!r}; `idnode trust list` prints them")
        draft, dice = self.draft()
        return broken(draft, name, dice)


def write_case(adapters: Adapters, folder: Path, samples: Sequence[Sample]) -> None:
    """Write the cases as vectors."""
    octets = json.dumps(samples_to_json(samples), indent=1, ensure_ascii=False).encode("utf-8")
    adapters.disk.write_atomic(folder / CASE, octets, PUBLIC_MODE)


def write_laboratory(adapters: Adapters, folder: Path, recipe: Recipe) -> Sample:
    """The whole chain as files; raises :class:`SigningRefused` when there is one already.

    ``case.json`` (vectors), ``seed.json`` (all its keys follow from it), ``root.pub`` (HS_PUBKEY data), ``signer.key``
    and ``signer.cert`` for the settings ``trust.key_file`` and ``trust.certificate_file``, ``handles/`` with each
    handle's values in the JSON form that REST takes.
    """
    if adapters.disk.exists(folder / SEED):
        raise SigningRefused(f"{folder / SEED} exists; a laboratory is never written over")
    draft, _ = recipe.draft()
    sample = draft.build("whole", "nothing is wrong", WHOLE)
    key = draft.signer.key
    assert isinstance(key, HandleKey)
    certificates = sample.handles[draft.signer.subject.handle]
    certificate = next(value.data for value in certificates if value.index == draft.signer.subject.index)
    adapters.disk.makedirs(folder)
    secret = {"seed": recipe.seed, "prefix": recipe.prefix, "now": recipe.now, "chain": list(draft.path())}
    adapters.disk.write_atomic(folder / SEED, json.dumps(secret, indent=1).encode("utf-8"), SECRET_MODE)
    key_file = write_private_key(key.signer, None, adapters.rng.octets)
    adapters.disk.write_atomic(folder / "signer.key", key_file, SECRET_MODE)
    adapters.disk.write_atomic(folder / "signer.cert", certificate, PUBLIC_MODE)
    adapters.disk.write_atomic(folder / "root.pub", sample.roots[0], PUBLIC_MODE)
    write_handles(adapters, folder, sample)
    write_case(adapters, folder, [sample])
    return sample


def write_handles(adapters: Adapters, folder: Path, sample: Sample) -> None:
    """Each handle's values in the JSON form that REST takes, in place of those written before."""
    adapters.disk.makedirs(folder / "handles")
    for name, values in {**sample.handles, sample.handle: sample.values}.items():
        form = {"handle": to_text(name), "values": [value_to_json(value) for value in values]}
        path = folder / "handles" / (to_text(name).replace("/", "_") + ".json")
        adapters.disk.write_atomic(path, json.dumps(form, indent=1).encode("utf-8"), PUBLIC_MODE)


def read_recipe(adapters: Adapters, folder: Path) -> Recipe:
    """The recipe of a folder that :func:`write_laboratory` filled; raises OSError, InvalidText or KeyError."""
    known = parse_json(adapters.disk.read(folder / SEED))
    if (
        not isinstance(known, dict)
        or not isinstance(known.get("seed"), str)
        or not isinstance(known.get("now"), float | int)
    ):
        raise SigningRefused(f"{folder / SEED} is not what `idnode trust make` writes")
    return Recipe(str(known["seed"]), str(known.get("prefix", "")), float(known["now"]))


def read_cases(adapters: Adapters, path: Path) -> list[Sample]:
    """The cases of a vectors file; raises OSError and InvalidText."""
    return samples_from_json(parse_json(adapters.disk.read(path)))
