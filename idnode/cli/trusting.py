"""Commands about signed records: sign, verify, and the laboratory (trust make, break, list)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from idnode.adapters import real_adapters
from idnode.cli.exits import Exit, errors_as_lines, fail, show
from idnode.cli.talking import DEFAULT_SERVER, Admin, AsJson, ConfigDir, KeyFile, SecretFile, Server, with_admin
from idnode.client.administrator import Administrator
from idnode.client.resolver import Resolver
from idnode.trust.laboratory import Recipe, read_cases, read_recipe, write_case, write_handles, write_laboratory
from idnode.trust.verification import trust_of
from idnode_protocol.handle import from_text, to_text
from idnode_registry.keystore import read_private_key
from idnode_registry.trust.claims import parse_entity
from idnode_registry.trust.keys import HandleKey
from idnode_registry.trust.lab.defects import DEFECTS
from idnode_registry.trust.lab.drafts import Sample
from idnode_registry.trust.lab.vectors import judge_sample, samples_to_json
from idnode_registry.trust.sealing import Sealer
from idnode_registry.trust.verdicts import Outcome, RecordVerdict

trust = typer.Typer(help="A laboratory of signed chains, whole and broken.", no_args_is_help=True)

Seed = Annotated[str | None, typer.Option(help="The same seed makes the same chain; such keys are no secrets.")]
Prefix = Annotated[str, typer.Option(help="The prefix whose holder signs, such as 99.900; one is drawn without it.")]


def _show_verdicts(verdicts: Sequence[RecordVerdict], *, as_json: bool) -> None:
    """Print them; the exit code says whether all are valid."""
    text = "\n".join(line for verdict in verdicts for line in verdict.lines())
    show([verdict.to_json() for verdict in verdicts], text, as_json=as_json)
    if any(verdict.outcome is not Outcome.VALID for verdict in verdicts):
        raise typer.Exit(int(Exit.REFUSED))


def verify(
    subject: Annotated[str, typer.Argument(metavar="HANDLE|FILE", help="A handle, or a file of trust vectors.")],
    root: Annotated[list[Path] | None, typer.Option(help="A root's key as HS_PUBKEY data; may be repeated.")] = None,
    server: Server = DEFAULT_SERVER,
    config_dir: Annotated[
        Path | None, typer.Option(help="Walk from the root this client-config folder names, instead of one server.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge the signatures of a record: every value, every signature and every link, each with its reason.

    The cases of a file bring their own roots and their own time. A client-config folder's bootstrap_handles may hold
    the root keys, as the HS_PUBKEY values of 0.0/0.0; --root adds to them.
    """
    with errors_as_lines():
        adapters = real_adapters()
        if adapters.disk.exists(Path(subject)):
            verdicts = [judge_sample(sample) for sample in read_cases(adapters, Path(subject))]
        else:
            resolver = Resolver(server) if config_dir is None else Resolver.open(config_dir)
            keys = [adapters.disk.read(path) for path in root or ()]
            if resolver.resolution is not None:
                keys += resolver.resolution.roots.keys
            if not keys:
                fail("whom do you trust? give a root's key: --root FILE, such as root.pub of `trust make`", Exit.USAGE)
            resolver.trust = trust_of(keys)
            verdicts = [asyncio.run(_verify(resolver, subject))]
        _show_verdicts(verdicts, as_json=as_json)


async def _verify(resolver: Resolver, handle: str) -> RecordVerdict:
    async with resolver:
        record = await resolver.resolve(handle, verify="report")
    assert record.verdict is not None
    return record.verdict


def sign(
    handle: str,
    signing_key: Annotated[Path, typer.Option(help="The private key to sign with.")],
    certificate: Annotated[Path, typer.Option(help="The text of that key's HS_CERT value.")],
    chain: Annotated[
        list[str] | None, typer.Option(help="index:handle of a certificate up to the root, nearest first; repeat it.")
    ] = None,
    life_days: Annotated[float, typer.Option(min=0.01, help="How long the signature is valid.")] = 365.0,
    server: Server = DEFAULT_SERVER,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
) -> None:
    """Sign a registered record: its signature of that name is replaced, those of others stay."""
    with errors_as_lines():
        adapters = real_adapters()
        key = HandleKey(read_private_key(adapters.disk.read(signing_key)))
        octets = adapters.disk.read(certificate).strip()
        sealer = Sealer(key, octets, [parse_entity(text) for text in chain or ()], life_days * 86_400)
        if not sealer.may_sign(from_text(handle)):
            fail(f"the certificate of {certificate} does not permit to sign {handle}", Exit.NOT_ALLOWED)

    async def work(administrator: Administrator) -> list[int]:
        before = (await administrator.resolve(handle)).values
        unsigned = sealer.without_own(before)
        after = sealer.seal(from_text(handle), (), unsigned, adapters.clock.now())
        made = [value for value in after if value not in unsigned]
        stale = {value.index for value in before} - {value.index for value in after}
        await administrator.add(handle, made, overwrite=True)
        if stale:
            await administrator.remove(handle, sorted(stale))
        return [value.index for value in made]

    indexes = with_admin(server, config_dir, admin, secret_file, key_file, work)
    print(f"signed {handle}: value {', '.join(map(str, indexes))}")


@trust.command("make")
def make(
    folder: Annotated[Path | None, typer.Argument(help="Where to write the chain and its keys.")] = None,
    seed: Seed = None,
    prefix: Prefix = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the vectors instead of writing files.")] = False,
) -> None:
    """Build a chain root -> authority -> prefix -> signed record."""
    with errors_as_lines():
        adapters = real_adapters()
        recipe = Recipe.drawn(adapters, seed, prefix)
        if as_json == (folder is not None):
            fail("give a folder for the files, or --json to print the vectors", Exit.USAGE)
        if folder is None:
            print(_vectors([recipe.whole()]))
            return
        sample = write_laboratory(adapters, folder, recipe)
        print(
            f"wrote {folder}: {to_text(sample.handle)} and {len(sample.handles)} handles above it, seed {recipe.seed}"
        )
        print(f"try: idnode verify {folder / 'case.json'}   idnode trust break wrong-digest {folder}")


def _vectors(samples: Sequence[Sample]) -> str:
    return json.dumps(samples_to_json(samples), indent=1, ensure_ascii=False)


@trust.command("break")
def break_(
    defect: Annotated[str, typer.Argument(help="Its name, or `all`; --list prints them.")] = "",
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of `trust make`; its case.json and handles/ get it.")
    ] = None,
    seed: Seed = None,
    prefix: Prefix = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the vectors: cases with the verdict expected.")
    ] = False,
    is_list: Annotated[bool, typer.Option("--list", help="Print the defects, a line each.")] = False,
) -> None:
    """Break a chain in one named way, and show what verification says about it."""
    if is_list:
        list_()
        return
    with errors_as_lines():
        if not defect:
            fail("which defect? `idnode trust break --list` prints them", Exit.USAGE)
        adapters = real_adapters()
        recipe = Recipe.drawn(adapters, seed, prefix) if folder is None else read_recipe(adapters, folder)
        samples = [recipe.broken(name) for name in (DEFECTS if defect == "all" else [defect])]
        if folder is not None:
            write_case(adapters, folder, samples)
            if len(samples) == 1:
                write_handles(adapters, folder, samples[0])
        if as_json:
            print(_vectors(samples))
            return
        for sample in samples:
            verdict = judge_sample(sample)
            print(f"{sample.name}: {sample.text}", *verdict.lines(), sep="\n")


@trust.command("list")
def list_() -> None:
    """Print the defects, a line each."""
    width = max(map(len, DEFECTS))
    for each in DEFECTS.values():
        print(f"{each.name:<{width}}  {each.text}")
