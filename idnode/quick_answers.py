"""Answers to plain resolutions made from octets: no object per request, none per value.

What a response says beside request id, recursion count, expiration, name and values follows from the first 36 octets
of its question's cache key (:mod:`idnode.answer_cache`)::

    0        8        12             16                           28           32
    | versions | sequence 0 | message length | opcode, code, flags | body length | octets of the name | name, two empty
    | session 0                                                                                  lists, no credential

So an answer to such a head is made once by the general path and cut into slices, a :class:`Form`. Of each further
question only the name is looked at, the record decides by :class:`idnode_registry.shortcut.Shortcut`, and the finished
answer has the layout of a cache entry. What does not fit gets None and takes the general path, which answers the same
octets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from idnode.answer_cache import ENTRY_OVERHEAD_OCTETS, Entry, entry_of, may_be_cached
from idnode.responding import OVERHEAD_OCTETS, SiteFacts, respond
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.envelope import TRUNCATED
from idnode_protocol.errors import RemoteError
from idnode_protocol.limits import ENVELOPE_OCTETS, FRAGMENT_OCTETS_MAX, HEADER_OCTETS
from idnode_protocol.message import decode_message
from idnode_protocol.requests import decode_request
from idnode_registry.ask import Reply, refusal
from idnode_registry.registry import Registry

FORMS_MAX: Final = 4_096
VALUES_OCTETS_MAX: Final = 200_000
"""Longer value lists take the general path, which knows what fits into a message."""

_HEAD_OCTETS: Final = 36
_NOTHING_ELSE: Final = bytes(12)
"""Two empty lists and no credential: what follows the name."""
_NO_CREDENTIAL: Final = bytes(4)
_FIRST_REST_OCTETS: Final = FRAGMENT_OCTETS_MAX - HEADER_OCTETS + 4
"""What the first of several datagrams carries of body length, body and credential."""
_OVERHEAD_OCTETS: Final = ENVELOPE_OCTETS + ENTRY_OVERHEAD_OCTETS


class Form(NamedTuple):
    """What all responses to one head share."""

    key_octets: int
    """Of the key of a question with this head."""
    public_only: bool
    start: bytes
    """Octets 0..8 of the response; ``start_of_many`` when it takes several datagrams."""
    start_of_many: bytes
    header: bytes
    """Octets 20..34: opcode, response code 1, flags, site serial."""
    not_found: Entry
    """The whole answer for a name that is not there."""


Question = tuple[Form, tuple[bytes, bytes]]
"""A plain resolution: its head's form; prefix and suffix of the name, folded."""


class QuickAnswers:
    """Makes cache entries out of cache keys and records, for one node."""

    def __init__(self, registry: Registry, site: Callable[[], SiteFacts]) -> None:
        self._shortcut = registry.shortcut
        self._site = site
        self._forms: dict[bytes, Form] = {}

    def forget(self) -> None:
        """The site's facts changed."""
        self._forms = {}

    def question(self, key: bytes) -> Question | None:
        """What is asked by the request with this key; None = the general path has to look at it."""
        form = self._forms.get(key[:_HEAD_OCTETS])
        if form is None:
            form = self._learn(key)
            if form is None:
                return None
        if len(key) != form.key_octets or key[-12:] != _NOTHING_ELSE:
            return None
        name = self._shortcut.stored_name(key[_HEAD_OCTETS:-12])
        return None if name is None else (form, name)

    def answer(self, question: Question, key: bytes, record: bytes | None) -> Entry | None:
        """The finished answer from what is stored under the question's name; None = take the general path."""
        form, name = question
        listed = self._shortcut.values(name, record)
        if listed is None:
            return form.not_found if self._shortcut.makes_nothing(name[0]) else None
        values = self._shortcut.for_anybody(listed, public_only=form.public_only)
        if values is None or len(values) > VALUES_OCTETS_MAX:
            return None
        named = key[32:-12]
        body_octets = len(named) + len(values)
        length = body_octets + OVERHEAD_OCTETS
        rest = b"".join((body_octets.to_bytes(4, "big"), named, values, _NO_CREDENTIAL))
        middle = length.to_bytes(8, "big") + form.header
        if length <= FRAGMENT_OCTETS_MAX:
            return form.start, middle, rest, (), 1, length + _OVERHEAD_OCTETS
        size = length.to_bytes(4, "big")
        further: list[bytes] = []
        for start in range(_FIRST_REST_OCTETS, len(rest), FRAGMENT_OCTETS_MAX):
            number = (len(further) + 1).to_bytes(4, "big")
            further.append(b"".join((number, size, rest[start : start + FRAGMENT_OCTETS_MAX])))
        octets = length + _OVERHEAD_OCTETS + len(further) * ENVELOPE_OCTETS
        return form.start_of_many, middle, rest[:_FIRST_REST_OCTETS], tuple(further), 1, octets

    def _learn(self, key: bytes) -> Form | None:
        """The form of a key's head, by way of the general path; None when such requests are never plain."""
        request = b"".join((key[:8], bytes(4), key[8:28], bytes(8), key[28:]))
        if not may_be_cached(request):
            return None
        try:
            message = decode_message(request)
            asked = decode_request(OpCode.RESOLUTION, message.body, message.envelope.version)
        except RemoteError:
            return None
        if len(key) != _HEAD_OCTETS + len(asked.handle) + len(_NOTHING_ELSE) or key[-12:] != _NOTHING_ELSE:
            return None
        if len(self._forms) >= FORMS_MAX:
            self._forms.clear()
        facts = self._site()
        found = respond(message, message, Reply(ResponseCode.SUCCESS, octets=b""), facts, 0.0).to_octets()
        missing = respond(message, message, refusal(ResponseCode.HANDLE_NOT_FOUND), facts, 0.0).to_octets()
        form = self._forms[key[:_HEAD_OCTETS]] = Form(
            len(key),
            message.header.has(OpFlag.PO),
            found[:8],
            found[:2] + bytes([found[2] | TRUNCATED]) + found[3:8],
            found[ENVELOPE_OCTETS:34],
            entry_of(missing),
        )
        return form
