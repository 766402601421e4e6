"""A second decoder of messages, written from docs/protocol.md with ``struct`` alone. It shares no line with ours.

It knows what a message *says*, as plain dictionaries, and nothing about limits: those are policy, not layout. Anything
it cannot read is :class:`Broken`.
"""

from __future__ import annotations

import struct
from typing import Any


class Broken(Exception):
    """The octets are not a message of §3."""


class Octets:
    """A position in octets."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        try:
            found = struct.unpack_from(">" + layout, self.data, self.at)
        except struct.error as wrong:
            raise Broken(str(wrong)) from wrong
        self.at += struct.calcsize(">" + layout)
        return found

    def one(self, layout: str) -> Any:
        return self.unpack(layout)[0]

    def left(self) -> int:
        return len(self.data) - self.at

    def ba(self) -> bytes:
        size = self.one("i")
        if size < 0 or size > self.left():
            raise Broken(f"array of {size}")
        self.at += size
        return self.data[self.at - size : self.at]

    def string(self) -> str:
        try:
            return self.ba().decode()
        except UnicodeDecodeError as wrong:
            raise Broken("not UTF-8") from wrong

    def many(self, read: Any) -> list[Any]:
        number = self.one("i")
        if number < 0 or number > self.left():
            raise Broken(f"{number} elements")
        return [read() for _ in range(number)]

    def end(self) -> None:
        if self.left():
            raise Broken("octets left over")


def ref(octets: Octets) -> list[Any]:
    return [octets.ba(), octets.one("i")]


def value(octets: Octets) -> dict[str, Any]:
    """§2.1."""
    index, timestamp, ttl_type, ttl, permissions = octets.unpack("iIBIB")
    return {
        "index": index,
        "timestamp": timestamp,
        "ttl_type": ttl_type,
        "ttl": ttl,
        "permissions": permissions,
        "type": octets.string(),
        "data": octets.ba(),
        "references": octets.many(lambda: ref(octets)),
    }


def request_body(opcode: int, octets: Octets) -> dict[str, Any]:
    """§3.6, for the opcodes whose layout does not depend on the version."""
    if opcode == 1:
        return {
            "handle": octets.ba(),
            "indexes": octets.many(lambda: octets.one("i")),
            "types": octets.many(octets.string),
        }
    if opcode in (100, 102, 104):
        return {"handle": octets.ba(), "values": octets.many(lambda: value(octets))}
    if opcode == 103:
        return {"handle": octets.ba(), "indexes": octets.many(lambda: octets.one("i"))}
    if opcode in (2, 101, 105, 300, 301, 302, 401, 1000, 1003):
        return {"handle": octets.ba()}
    if opcode == 200:
        return {
            "auth_type": octets.string(),
            "user_handle": octets.ba(),
            "user_index": octets.one("i"),
            "signed_response": octets.ba(),
        }
    if opcode == 201:
        return verify_body(octets)
    if opcode == 400:
        return setup_body(octets)
    raise Broken(f"opcode {opcode}")


def verify_body(octets: Octets) -> dict[str, Any]:
    found = {"user_handle": octets.ba(), "user_index": octets.one("i"), "nonce": octets.ba()}
    code = octets.one("B")
    if code == 0:
        octets.at -= 1
        digest = octets.ba()
    else:
        sizes = {1: 16, 2: 20, 3: 32}
        if code not in sizes or octets.left() < sizes[code]:
            raise Broken(f"digest code {code}")
        digest = bytes(octets.unpack(f"{sizes[code]}s")[0])
    return {**found, "digest_code": code, "request_digest": digest, "signed_response": octets.ba()}


def setup_body(octets: Octets) -> dict[str, Any]:
    mode, timeout = octets.unpack("Hi")
    found = {"mode": mode, "timeout": timeout, "identity_handle": octets.ba(), "identity_index": octets.one("i")}
    if mode in (1, 4):
        found["public_key"] = octets.ba()
    elif mode == 3:
        found["key_handle"], found["key_index"] = octets.ba(), octets.one("i")
    elif mode != 2:
        raise Broken(f"mode {mode}")
    return found


def response_body(header: dict[str, Any], octets: Octets) -> dict[str, Any]:
    """§3.7, version 2.1 and newer."""
    found: dict[str, Any] = {"digest": None}
    if header["flags"] & 0x00800000:
        found["digest"] = typed_digest(octets)
    code, opcode = header["response_code"], header["opcode"]
    if code == 402:
        found["nonce"] = octets.ba()
        octets.end()
    elif code in (302, 303):
        found["handle"] = octets.ba()
        found["values"] = octets.many(lambda: value(octets)) if octets.left() else None
        octets.end()
    elif code != 1:
        found["message"] = octets.ba() if octets.left() else None
    else:
        found |= success_body(opcode, octets)
    return found


def typed_digest(octets: Octets) -> tuple[int, bytes]:
    kind = octets.one("B")
    if kind == 0:
        octets.at -= 1
        digest = octets.ba()
        if len(digest) != 16:
            raise Broken("old digest")
        return 0, digest
    sizes = {1: 16, 2: 20, 3: 32}
    if kind not in sizes:
        raise Broken(f"digest type {kind}")
    return kind, octets.unpack(f"{sizes[kind]}s")[0]


def success_body(opcode: int, octets: Octets) -> dict[str, Any]:
    found: dict[str, Any]
    if opcode == 1:
        found = {"handle": octets.ba(), "values": octets.many(lambda: value(octets))}
    elif opcode == 100:
        found = {"handle": octets.ba() if octets.left() else None}
    elif opcode in (105, 302):
        found = {"handles": octets.many(octets.ba)}
    elif opcode == 201:
        number = octets.one("B")
        if number > 1:
            raise Broken("neither 0 nor 1")
        found = {"is_valid": bool(number)}
    elif opcode == 400:
        return {"mode": octets.one("H"), "data": octets.ba()}
    elif opcode in (101, 102, 103, 104, 300, 301, 401, 402, 1002, 1003):
        return {}
    else:
        raise Broken(f"success of opcode {opcode}")
    octets.end()
    return found


def message(data: bytes) -> dict[str, Any]:
    """Envelope, header and body of a whole message in clear."""
    octets = Octets(data)
    major, minor, third, suggested_minor, session, request, sequence, length = octets.unpack("BBBBIIII")
    if third & 0xC0 or length != len(data) - 20:
        raise Broken("encrypted, compressed or of another length")
    opcode, code, flags, serial, recursion, reserved, expiration, size = octets.unpack("iiIHBBII")
    if size > octets.left():
        raise Broken("body is longer than the message")
    body = Octets(data[octets.at : octets.at + size])
    octets.at += size
    credential = octets.ba() if octets.left() else None
    octets.end()
    header = {
        "opcode": opcode,
        "response_code": code,
        "flags": flags,
        "site_serial": serial,
        "recursion_count": recursion,
        "reserved": reserved,
        "expiration": expiration,
    }
    return {
        "version": (major, minor),
        "suggested": (third & 0x1F, suggested_minor),
        "session_id": session,
        "request_id": request,
        "sequence": sequence,
        **header,
        "credential": credential,
        "body": response_body(header, body) if code else request_body(opcode, body),
    }
