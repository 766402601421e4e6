"""What is done to the corpus, and the way every input takes through the decoders and back."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence

from idnode_protocol.authentication import PublicKeyAnswer, SecretKeyAnswer
from idnode_protocol.credential import Credential
from idnode_protocol.errors import LocalError, RemoteError
from idnode_protocol.json_form import value_from_json, value_to_json
from idnode_protocol.json_key import private_key_from_json, public_key_from_json
from idnode_protocol.json_members import parse_json
from idnode_protocol.json_site import site_from_json, site_to_json
from idnode_protocol.message import Message, decode_message
from idnode_protocol.replication import Head, encode_head, encode_record
from idnode_protocol.replication_reader import StreamReader, stream_type
from idnode_protocol.replication_state import ReplicationState
from idnode_protocol.requests import (
    AnyRequest,
    ChallengeAnswerRequest,
    SessionSetupRequest,
    decode_request,
    encode_request,
)
from idnode_protocol.responses import (
    AnyResponse,
    SessionSetupResponse,
    SiteInfoResponse,
    decode_response,
    encode_response,
)
from idnode_protocol.session_keys import decode_exchange
from idnode_protocol.value import HandleValue, values_from_octets, values_to_octets
from idnode_protocol.values import (
    DsaPublicKey,
    RsaPublicKey,
    SiteInfo,
    decode_data,
    decode_private_key,
    decode_public_key,
    encode_data,
)

INTERESTING = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\1",
    b"\0\1\0\0",
    b"\0\0\x08\x01",
)
SMALL = (0, 1, 2, 3, 4, 5, 0x7F, 0x80, 0xFF)
"""What codes, modes, forms and counts may be, and just may not."""


def one_field(octets: bytes, chance: random.Random) -> bytes:
    """Another value in one field, the lengths around it left as they are or, half the time, made right again."""
    changed = bytearray(octets)
    place = chance.randrange(len(changed))
    kind = chance.randrange(5)
    if kind == 0:
        changed[place] ^= 1 << chance.randrange(8)
    elif kind == 4:
        changed[place] = chance.choice(SMALL)
    elif kind == 1:
        start = place & ~3
        changed[start : start + 4] = chance.choice(INTERESTING)
    elif kind == 2:
        changed[place:place] = chance.randbytes(chance.randrange(1, 9))
    else:
        del changed[place : place + chance.randrange(1, 9)]
    if kind in (2, 3) and chance.random() < 0.8 and len(changed) > 44:
        changed[16:20] = (len(changed) - 20).to_bytes(4, "big")
        grown = len(changed) - len(octets)
        body = max(0, int.from_bytes(octets[40:44], "big") + grown)
        changed[40:44] = body.to_bytes(4, "big")
    return bytes(changed)


def otherwise(corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """Cut, joined or random."""
    octets = chance.choice(corpus)
    kind = chance.randrange(3)
    if kind == 0:
        return octets[: chance.randrange(len(octets))]
    if kind == 1:
        other = chance.choice(corpus)
        return octets[: chance.randrange(len(octets))] + other[chance.randrange(len(other)) :]
    return chance.randbytes(chance.randrange(0, 200))


def hostile(corpus: Sequence[bytes], number: int, chance: random.Random) -> bytes:
    """The next input: three of four are one-field mutations."""
    return one_field(chance.choice(corpus), chance) if number % 4 else otherwise(corpus, chance)


_JSON_PIECES = (
    *(b"null", b"true", b"-1", b"4294967296", b"1e400", b"NaN", b"[]", b"{}", b"[[[1]]]", b"[" * 60 + b"]" * 60),
    *(b'""', b'"\\ud800"', b'"*"', b'"1111"', b'"1969-12-31T00:00:00Z"', b'"2200-01-01T00:00:00Z"', b'"fe80::1%25lo"'),
    *(
        b'{"format":"none","value":1}',
        b'{"format":"string","value":"x"}',
        b'{"a":1,"a":2}',
        b'"99.900/' + b"x" * 3_000 + b'"',
    ),
)


def hostile_json(corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """One value, one name or one octet of a JSON text replaced."""
    text = chance.choice(corpus)
    if chance.random() < 0.3:
        return one_field(text, chance)
    ends = [place for place, octet in enumerate(text) if octet in b",:[]{}"]
    first = chance.randrange(len(ends) - 1)
    start, stop = ends[first] + 1, ends[first + 1]
    if text[ends[first] : start] in b"[{" or chance.random() < 0.2:  # the whole of an array or object: up to its end
        stop = ends[min(len(ends) - 1, first + chance.randrange(1, 12))]
    return text[:start] + chance.choice(_JSON_PIECES) + text[stop:]


def digest_everything(octets: bytes) -> str:
    """Decode as far as it goes and encode again; the name of what happened."""
    message = decode_message(octets)
    if message.to_octets() != octets:
        raise AssertionError("a decoded message is written differently")
    if message.credential_octets:
        credential = Credential.from_octets(message.credential_octets)
        if credential.to_octets() != message.credential_octets:
            raise AssertionError("a decoded credential is written differently")
    return _body(message)


def _body(message: Message) -> str:
    version = message.envelope.version
    if message.header.is_request:
        request = decode_request(message.header.opcode, message.body, version)
        if encode_request(request, version) != message.body:
            raise AssertionError("a decoded request is written differently")
        _inside_request(request)
        return "request accepted"
    digest, response = decode_response(message.header, message.body, version)
    if encode_response(response, digest) != message.body:
        raise AssertionError("a decoded response is written differently")
    _inside_response(response)
    return "response accepted"


def _inside_request(request: AnyRequest) -> None:
    for value in getattr(request, "values", ()):
        _value(value)
    if isinstance(request, ChallengeAnswerRequest):
        kind = PublicKeyAnswer if request.auth_type == "HS_PUBKEY" else SecretKeyAnswer
        kind.from_octets(request.signed_response)
    if isinstance(request, SessionSetupRequest) and request.public_key:
        decode_public_key(request.public_key)


def _inside_response(response: AnyResponse) -> None:
    values = getattr(response, "values", None)
    if values:
        values_from_octets(values_to_octets(values))
    for value in values or ():
        _value(value)
    if isinstance(response, SiteInfoResponse):
        SiteInfo.from_octets(response.site)
    if isinstance(response, SessionSetupResponse):
        decode_exchange(response.data)


def _value(value: HandleValue) -> None:
    decoded = decode_data(value.type, value.data)
    if isinstance(decoded, RsaPublicKey | DsaPublicKey):
        type(decoded).from_octets(value.data)
    if encode_data(decoded) != value.data:
        raise AssertionError(f"a decoded {value.type} is written differently")


def through_json(value: HandleValue) -> str:
    """To JSON and back; what JSON cannot carry (docs/protocol.md §7.3) is refused, never changed."""
    try:
        again = value_from_json(value_to_json(value))
    except LocalError:
        return "value has no JSON form"
    if again.data != value.data:
        raise AssertionError(f"{value.type} came back from JSON with other data")
    return "value carried by JSON"


def digest_json(octets: bytes) -> str:
    """As a value, a site, a key: at most one of them is right, and none may raise anything but its own refusal."""
    try:
        parsed = parse_json(octets)
    except LocalError:
        return "json refused"
    accepted = "json of nothing"
    readers: tuple[tuple[str, Callable[[object], object]], ...] = (
        ("value", lambda item: value_to_json(value_from_json(item))),
        ("value", lambda item: value_from_json(item, strict_permissions=False)),
        ("site", lambda item: site_to_json(site_from_json(item))),
        ("key", public_key_from_json),
        ("key", lambda item: decode_private_key(private_key_from_json(item).to_octets())),
    )
    for name, read in readers:
        try:
            read(parsed)
            accepted = f"json {name} accepted"
        except (LocalError, RemoteError):
            continue
    return accepted


def digest_stream(octets: bytes, *, is_dump: bool, signed: bool = False) -> str:
    """A replication stream read in pieces of uneven sizes; what was read is written as it came."""
    with contextlib.suppress(RemoteError):
        stream_type(octets)
    reader = StreamReader(is_dump=is_dump, verify=(lambda _name, _block, _signature: True) if signed else None)
    written = []
    for start in range(0, len(octets), 37):
        for found in reader.feed(octets[start : start + 37]):
            if isinstance(found, Head):
                written.append(encode_head(found, is_dump=is_dump))
            else:
                written.append(encode_record(found))
    if not signed and not octets.startswith(b"".join(written)):
        raise AssertionError("a replication stream is written differently")
    return "stream whole" if reader.is_complete else "stream goes on"


def digest_state(octets: bytes) -> str:
    """The state a mirror sends; whatever is accepted can be written again."""
    ReplicationState.from_octets(ReplicationState.from_octets(octets).to_octets())
    return "state accepted"


def reason(wrong: RemoteError) -> str:
    """A rejection without its numbers."""
    text = "".join(" " if letter.isdigit() else letter for letter in str(wrong).partition(" (at")[0])
    return f"{type(wrong).__name__}: {' '.join(text.split())[:60]}"
