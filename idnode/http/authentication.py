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
from idnode_registry.verify import HeaderProof

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
        await prove(call, values)
    elif call.session is not None:
        call.caller = call.session.caller


async def prove(call: Call, values: dict[str, str]) -> None:
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
    call.node.metrics.auth("http", "ok" if verdict.is_valid else "refused")
    if verdict.is_valid:
        session.caller = call.caller = Caller(handle, verdict.index)
    else:
        call.failure = "the signature does not fit a key of this identity"


async def _basic(call: Call, text: str) -> None:
    user, _, password = octets_of(text).partition(b":")
    handle, index = parse_identity(user.decode("latin-1"))
    verdict = await call.node.proofs.basic(handle, index, password, call.source)
    call.node.metrics.auth("basic", "ok" if verdict.is_valid else "refused")
    if verdict.is_valid:
        call.caller = Caller(handle, index)
    elif verdict.code == ResponseCode.SERVER_BUSY:
        raise CallRefused(503, verdict.reason, ResponseCode.SERVER_BUSY)
    else:
        call.failure = "the secret key does not fit this identity"


async def challenge(call: Call, sessions: HttpSessions) -> None:
    """Put ``WWW-Authenticate`` into the answer: what the caller may use, and the nonce to sign."""
    session: HttpSession = call.session or sessions.open()
    call.session = session
    parts = [f'sessionId="{session.session_id}"', f'nonce="{session.nonce_text}"']
    cnonce = header_parameters(call.request.headers.get("Authorization", "")).get("cnonce")
    if cnonce and "id=" not in call.request.headers.get("Authorization", ""):
        signed = session.nonce + octets_of(cnonce)
        signature = await call.node.adapters.run_blocking(call.node.signer.sign, signed, "sha256")
        parts += ['serverAlg="SHA-256"', f'serverSignature="{base64.b64encode(signature).decode()}"']
    if call.failure:
        parts.append(f'error="{call.failure}"')
    offered = "Handle " + ", ".join(parts)
    scheme = call.request.headers.get("Authorization", "Basic").partition(" ")[0].lower()
    if scheme == "basic" and call.request.headers.get("X-Requested-With") != "XMLHttpRequest":
        offered = 'Basic realm="handle", ' + offered
    call.extra_headers["WWW-Authenticate"] = offered
