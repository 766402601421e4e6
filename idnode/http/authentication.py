"""Who calls over HTTP: Basic, ``Authorization: Handle``, or a session that proved itself (docs/protocol.md §7.4)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from idnode.http.call import Call, CallRefused
from idnode.http.sessions import HttpSession, HttpSessions
from idnode_protocol.codes import ResponseCode
from idnode_registry.ask import Caller
from idnode_registry.verify import HeaderProof, Verdict

CNONCE_OCTETS_MAX: Final = 1_024
_PARAMETER: Final = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))\s*(?:,|$)')


def parse_identity(text: str) -> tuple[bytes, int]:
    """(handle, index) of a percent-encoded ``index:handle``; raises :class:`CallRefused`."""
    octets = unquote_to_bytes(text)
    index, colon, handle = octets.partition(b":")
    if not colon or not index.isdigit() or len(index) > 10 or not handle:
        raise CallRefused(400, "the identity must be index:handle with the colon percent-encoded in a Basic user name")
    return handle, int(index)


def header_parameters(text: str) -> dict[str, str]:
    """``name="value"`` pairs of an Authorization header, names in lower case."""
    return {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(text)}


def octets_of(text: str) -> bytes:
    """Base64, padded or not; raises :class:`CallRefused`."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise CallRefused(400, "a binary parameter is not base64") from wrong


def number_of(text: str | None) -> int:
    """A decimal number of a proof; 0 when absent."""
    return int(text) if text and text.isdigit() and len(text) <= 9 else 0


def proof_of(values: dict[str, str], handle: bytes, index: int, kind: str) -> HeaderProof:
    """The proof in header parameters, JSON members or query parameters."""
    return HeaderProof(
        handle,
        index,
        kind,
        values.get("alg", ""),
        octets_of(values.get("signature", "")),
        octets_of(values.get("cnonce", "")),
        octets_of(values.get("salt", "")),
        number_of(values.get("iterations")),
        number_of(values.get("length")),
    )


async def identify(call: Call, sessions: HttpSessions) -> None:
    """Fill the call's caller and session; a proof that fails leaves the caller anonymous and says so in ``failure``."""
    if not call.may_authenticate:
        return
    header = call.request.headers.get("Authorization", "")
    scheme, _, rest = header.partition(" ")
    cookie = call.request.cookies.get("JSESSIONID")
    if scheme.lower() == "basic":
        await _basic(call, rest.strip())
        return
    values = header_parameters(rest) if scheme.lower() == "handle" else {}
    session_id = values.get("sessionid") or cookie
    if session_id:
        call.session = sessions.get(session_id)
        if call.session is None and values.get("sessionid"):
            call.failure = "the session is unknown or has ended"
    if values:
        await prove(call, values, sessions)
    elif call.session is not None:
        call.caller = call.session.caller


def refuse_if_busy(verdict: Verdict) -> None:
    """A proof that was not looked at is neither right nor wrong; raises :class:`CallRefused`."""
    if verdict.code == ResponseCode.SERVER_BUSY:
        raise CallRefused(503, verdict.reason, ResponseCode.SERVER_BUSY)


async def prove(call: Call, values: dict[str, str], sessions: HttpSessions) -> None:
    """Check the proof in ``values`` against the call's session, or take the session's word."""
    session = call.session
    if values.get("clientcert", "").lower() == "true":
        call.failure = "client certificates are not offered; use a signature or Basic"
        return
    if session is None:
        return
    if not values.get("signature"):
        call.caller = session.caller
        return
    handle, index = parse_identity(values.get("id", ""))
    proof = proof_of(values, handle, index, values.get("type", ""))
    verdict = await call.node.proofs.header(proof, session.nonce, call.source)
    refuse_if_busy(verdict)
    call.node.metrics.auth("http", "ok" if verdict.is_valid else "refused")
    if verdict.is_valid:
        call.caller = Caller(handle, verdict.index)
        sessions.prove(session, call.caller)
    else:
        call.failure = verdict.reason if verdict.is_unheard else "the signature does not fit a key of this identity"


async def _basic(call: Call, text: str) -> None:
    user, _, password = octets_of(text).partition(b":")
    handle, index = parse_identity(user.decode("latin-1"))
    verdict = await call.node.proofs.basic(handle, index, password, call.source)
    refuse_if_busy(verdict)
    call.node.metrics.auth("basic", "ok" if verdict.is_valid else "refused")
    if verdict.is_valid:
        call.caller = Caller(handle, index)
    else:
        call.failure = verdict.reason if verdict.is_unheard else "the secret key does not fit this identity"


async def server_signature(call: Call, session: HttpSession, cnonce: str) -> str | None:
    """The node's signature over both nonces, base64; None while the caller has used up his share of such work."""
    signed = session.nonce + octets_of(cnonce)[:CNONCE_OCTETS_MAX]
    signature = await call.node.proofs.run(lambda: call.node.signer.sign(signed, "sha256"), call.source, b"")
    return base64.b64encode(signature).decode("ascii") if signature else None


async def challenge(call: Call, sessions: HttpSessions) -> None:
    """Put ``WWW-Authenticate`` into the answer: what the caller may use, and the nonce to sign."""
    session: HttpSession = call.session or sessions.open()
    call.session = session
    parts = [f'sessionId="{session.session_id}"', f'nonce="{session.nonce_text}"']
    cnonce = header_parameters(call.request.headers.get("Authorization", "")).get("cnonce")
    if cnonce and "id=" not in call.request.headers.get("Authorization", ""):
        signature = await server_signature(call, session, cnonce)
        if signature is not None:
            parts += ['serverAlg="SHA-256"', f'serverSignature="{signature}"']
    if call.failure:
        parts.append(f'error="{call.failure}"')
    offered = "Handle " + ", ".join(parts)
    scheme = call.request.headers.get("Authorization", "Basic").partition(" ")[0].lower()
    if scheme == "basic" and call.request.headers.get("X-Requested-With") != "XMLHttpRequest":
        offered = 'Basic realm="handle", ' + offered
    call.extra_headers["WWW-Authenticate"] = offered
