"""``explain``: every step from the root to an answer."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated, Final
from urllib.parse import quote

import aiohttp
import typer

from idnode.cli.exits import Exit, errors_as_lines, exit_of, fail
from idnode.cli.talking import ReadyFile, Transport, WalkFrom, beginning
from idnode.client.errors import NoAnswer, Refused, refused
from idnode.client.resolver import Resolver
from idnode.resolution.question import Failure
from idnode.trust.verification import trust_of
from idnode_protocol.codes import ResponseCode
from idnode_registry.crypto import KeyRefused

HTTP_TIMEOUT_S: Final = 15.0
_FORMATS: Final = {(False, False): "text", (True, False): "", (False, True): "mermaid"}
"""(--json, --mermaid) -> the parameter format."""


async def _by_walking(resolver: Resolver, handle: str, types: list[str], form: str, *, alias: bool) -> tuple[str, Exit]:
    """Walk here; signatures are judged by the root keys of where the walk begins, if it has any."""
    keys = () if resolver.resolution is None else resolver.resolution.roots.keys
    try:
        resolver.trust = trust_of(keys) if keys else None
    except KeyRefused as wrong:
        print(f"idnode: signatures are not judged, the root key is not acceptable: {wrong}", file=sys.stderr)
    explanation = await resolver.explain(handle, types=types, follow_aliases=alias)
    forms = {"text": explanation.to_text, "mermaid": explanation.to_mermaid}
    as_json = json.dumps(explanation.to_json(), ensure_ascii=False, indent=1)
    shown = forms[form]() if form else as_json
    outcome = explanation.outcome
    if outcome.is_success:
        return shown, Exit.OK
    if outcome.failure in (Failure.UNREACHABLE, Failure.TIME):
        return shown, exit_of(NoAnswer(""))
    return shown, exit_of(refused(outcome.code, "", handle))


async def _by_asking(server: str, handle: str, types: list[str], form: str, *, alias: bool) -> tuple[str, Exit]:
    """Let a node explain; its answer as it came."""
    parameters = [("format", form)] if form else [("pretty", "true")]
    parameters += [("type", kind) for kind in types] + ([("alias", "true")] if alias else [])
    url = f"{server.rstrip('/')}/api/explain/{quote(handle)}"
    timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, params=parameters, ssl=False) as response,
        ):
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError) as wrong:
        raise NoAnswer(f"{server}: {str(wrong) or 'no answer in time'}") from wrong
    if response.status in (400, 501) and not form:
        raise Refused(ResponseCode.OPERATION_NOT_SUPPORTED, text[:200], handle)
    return text.rstrip("\n"), Exit.OK if response.status == 200 else Exit.REFUSED


def explain(
    handle: str,
    config_dir: WalkFrom = None,
    ready_file: ReadyFile = None,
    server: Annotated[
        str | None, typer.Option(help="The http:// address of a recursive node that is to explain its own walk.")
    ] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be repeated.")] = None,
    alias: Annotated[bool, typer.Option(help="Follow HS_ALIAS values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    mermaid: Annotated[bool, typer.Option(help="Print a Mermaid sequence diagram.")] = False,
) -> None:
    """Show every step of a resolution: who was asked, what was remembered, why it went on."""
    if as_json and mermaid:
        fail("--json and --mermaid are two forms; choose one", Exit.USAGE)
    if sum(given is not None for given in (config_dir, ready_file, server)) != 1:
        text = "give one of --config-dir and --ready-file (walk from here) and --server (let a node explain)"
        fail(text, Exit.USAGE)
    if server is not None and "://" not in server:
        fail(f"{server}: a node explains by HTTP; give its http:// address", Exit.USAGE)
    form = _FORMATS[as_json, mermaid]

    async def main() -> tuple[str, Exit]:
        if server is not None:
            return await _by_asking(server, handle, type_ or [], form, alias=alias)
        async with beginning(None, config_dir, ready_file, tuple(Transport)) as resolver:
            return await _by_walking(resolver, handle, type_ or [], form, alias=alias)

    with errors_as_lines():
        shown, code = asyncio.run(main())
        print(shown)
    raise typer.Exit(int(code))
