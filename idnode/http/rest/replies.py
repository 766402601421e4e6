"""Replies as JSON and HTTP status (docs/protocol.md §7.2)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from idnode.http.call import Call, json_response
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.handle import to_text
from idnode_protocol.json_form import value_to_json
from idnode_protocol.octets import Reader
from idnode_protocol.responses import CreateResponse, ErrorResponse, ReferralResponse, ResolutionResponse
from idnode_registry.ask import Ask, Freshness, Reply

STATUS: Final[dict[int, int]] = {
    ResponseCode.SUCCESS: 200,
    ResponseCode.SERVER_BUSY: 503,
    ResponseCode.PROTOCOL_ERROR: 400,
    ResponseCode.OPERATION_NOT_SUPPORTED: 501,
    ResponseCode.SERVER_READ_ONLY: 503,
    ResponseCode.HANDLE_NOT_FOUND: 404,
    ResponseCode.HANDLE_ALREADY_EXISTS: 409,
    ResponseCode.INVALID_HANDLE: 400,
    ResponseCode.VALUES_NOT_FOUND: 400,
    ResponseCode.VALUE_ALREADY_EXISTS: 409,
    ResponseCode.INVALID_VALUE: 400,
    ResponseCode.SERVER_NOT_RESPONSIBLE: 400,
    ResponseCode.SERVICE_REFERRAL: 300,
    ResponseCode.PREFIX_REFERRAL: 300,
    ResponseCode.INVALID_ADMIN: 403,
    ResponseCode.INSUFFICIENT_PERMISSION: 403,
    ResponseCode.AUTHENTICATION_NEEDED: 401,
    ResponseCode.AUTHENTICATION_FAILED: 403,
    ResponseCode.INVALID_CREDENTIAL: 403,
}
"""Response code -> status; everything else is 500."""
_CREATING: Final = frozenset({OpCode.CREATE_HANDLE, OpCode.ADD_VALUES})


def status_of(ask: Ask, reply: Reply) -> int:
    """The HTTP status: 201 when something new was made and nothing replaced."""
    if reply.code == ResponseCode.VALUES_NOT_FOUND and ask.opcode == OpCode.RESOLUTION:
        return 200
    if reply.is_success and ask.opcode in _CREATING and not reply.flags & OpFlag.OWE:
        return 201
    return STATUS.get(reply.code, 500)


def body_of(ask: Ask, reply: Reply) -> dict[str, object]:
    """The JSON members of a reply."""
    body: dict[str, object] = {"responseCode": int(reply.code)}
    response = reply.response
    handle = ask.request.handle
    if reply.octets is not None:
        response = ResolutionResponse.decode(Reader(reply.octets))
    if isinstance(response, ErrorResponse) and response.message:
        body["message"] = response.text
    if isinstance(response, ReferralResponse):
        if response.handle:
            body["referralHandle"] = to_text(response.handle)
        if response.values is not None:
            body["values"] = [value_to_json(value) for value in response.values]
    if isinstance(response, CreateResponse) and response.handle is not None:
        handle = response.handle
    body["handle"] = to_text(handle)
    if isinstance(response, ResolutionResponse):
        body["values"] = [value_to_json(value) for value in response.values]
    elif reply.code == ResponseCode.VALUES_NOT_FOUND and ask.opcode == OpCode.RESOLUTION:
        body["values"] = []
    return body


def reply_response(call: Call, ask: Ask, reply: Reply) -> web.Response:
    """The answer to a call that became one ask."""
    body = body_of(ask, reply)
    if reply.freshness is not None:
        call.extra_headers.update(freshness_headers(reply.freshness))
        if reply.freshness.is_stale:
            body["stale"] = True
        verdict = reply.freshness.verdict
        if verdict is not None:
            body["signatures"] = {"verdict": verdict.outcome.value, "reason": verdict.reason}
    if call.failure and reply.code == ResponseCode.AUTHENTICATION_NEEDED:
        body["message"] = call.failure
    return json_response(call, status_of(ask, reply), body)


def freshness_headers(freshness: Freshness) -> dict[str, str]:
    """Of an answer that another server gave: how old it is, and the warning when its time is over (RFC 9111 §5)."""
    headers = {"Age": str(int(freshness.age_s))}
    if freshness.is_stale:
        headers["Warning"] = '110 - "Response is Stale"'
    return headers
