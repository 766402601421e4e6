"""``/api/prefixes``, ``/api/site``, ``/api/verifications`` and ``/api/sessions`` (docs/protocol.md §7.1, §7.4)."""

from __future__ import annotations

from aiohttp import web

from idnode.http.authentication import octets_of, proof_of, prove, refuse_if_busy, server_signature
from idnode.http.call import Call, CallRefused, json_response
from idnode.http.rest.handles import flags_of, listing
from idnode.http.rest.replies import reply_response
from idnode.http.sessions import HttpSession, HttpSessions
from idnode_protocol.codes import OpCode
from idnode_protocol.errors import InvalidText
from idnode_protocol.handle import from_text, to_text
from idnode_protocol.json_members import parse_json
from idnode_protocol.json_site import site_to_json
from idnode_protocol.requests import HandleRequest
from idnode_registry.ask import Ask


async def prefixes(call: Call) -> web.Response:
    """List, home (POST) and unhome (DELETE)."""
    named = call.rest or (from_text(call.first("prefix") or "") if call.first("prefix") else b"")
    if not named:
        if call.method not in ("GET", "HEAD"):
            raise CallRefused(400, "name the prefix in the path or in the parameter prefix")
        return await listing(call, Ask(OpCode.LIST_HOMED_PREFIXES, HandleRequest(), flags_of(call)), "prefixes")
    opcode = {"POST": OpCode.HOME_PREFIX, "DELETE": OpCode.UNHOME_PREFIX}.get(call.method)
    if opcode is None:
        raise CallRefused(405, "a prefix can be homed (POST) and unhomed (DELETE)")
    ask = Ask(opcode, HandleRequest(named), flags_of(call))
    return reply_response(call, ask, await call.node.ask(ask, call.caller, call.source))


async def site(call: Call) -> web.Response:
    """The site record."""
    return json_response(call, 200, {"responseCode": 1, "site": site_to_json(call.node.site)})


async def verifications(call: Call) -> web.Response:
    """Whether a proof belongs to a secret key held here; no credentials are needed to ask."""
    text = call.rest or b""
    head, colon, tail = text.partition(b":")
    index, handle = (int(head), tail) if colon and head.isdigit() and len(head) < 11 else (0, text)
    values = {name: call.first(name) or "" for name in ("alg", "signature", "cnonce", "salt", "iterations", "length")}
    proof = proof_of(values, handle, index, "HS_SECKEY")
    nonce = octets_of(call.first("nonce") or "")
    verdict = await call.node.proofs.header(proof, nonce, call.source, is_verification=True)
    refuse_if_busy(verdict)
    body = {"responseCode": 1, "handle": to_text(handle), "isValid": verdict.is_valid}
    return json_response(call, 200, body)


def _session_body(session: HttpSession) -> dict[str, object]:
    body: dict[str, object] = {"sessionId": session.session_id, "nonce": session.nonce_text}
    if not session.caller.is_anonymous:
        body |= {"authenticated": True, "id": str(session.caller)}
    return body


async def http_sessions(call: Call, sessions: HttpSessions) -> web.Response:
    """Open a session, show it, prove an identity in it, end it."""
    if not call.may_authenticate:
        raise CallRefused(403, "sessions need HTTPS on this listener")
    if not call.rest:
        if call.method != "POST":
            raise CallRefused(405, "a session is opened by POST")
        if call.session is not None or call.failure:
            raise CallRefused(400, "open a session without naming one")
        session = sessions.open()
        call.extra_headers["Location"] = "/api/sessions/this"
        return json_response(call, 201, _session_body(session) | await _server_proof(call, session))
    if call.rest != b"this":
        raise CallRefused(404, "the only session a caller can name is /api/sessions/this")
    if call.session is None:
        raise CallRefused(403, "name the session by sessionId in the Authorization header or by its cookie")
    if call.method == "DELETE":
        sessions.drop(call.session.session_id)
        return web.Response(status=204)
    if call.method in ("PUT", "POST"):
        members = await _members(call)
        if members:
            await prove(call, members, sessions)
    status = 401 if call.failure else 200
    body = _session_body(call.session)
    if call.failure:
        body["error"] = call.failure
    return json_response(call, status, body)


async def _members(call: Call) -> dict[str, str]:
    octets = await call.body()
    if not octets.strip():
        return {}
    try:
        parsed = parse_json(octets)
    except InvalidText as wrong:
        raise CallRefused(400, f"the body cannot be used: {wrong}") from wrong
    if not isinstance(parsed, dict):
        raise CallRefused(400, "the body must be a JSON object")
    return {name.lower(): str(value) for name, value in parsed.items()}


async def _server_proof(call: Call, session: HttpSession) -> dict[str, object]:
    cnonce = (await _members(call)).get("cnonce") or call.first("cnonce")
    if not cnonce:
        return {}
    signature = await server_signature(call, session, cnonce)
    return {} if signature is None else {"serverAlg": "SHA-256", "serverSignature": signature}
