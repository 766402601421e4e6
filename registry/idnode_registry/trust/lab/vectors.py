"""Laboratory cases as JSON, so that verifiers in other languages can be held to them.

::

    {"format": 1, "cases": [{"name", "text", "handle", "now", "roots": [hex HS_PUBKEY data],
      "values": [hex], "valuesJson": [..], "handles": {handle: [hex]},
      "expected": {"verdict", "finding", "signature", "place", "values", "reason"}}]}

A value in hex is its wire form (docs/protocol.md §2.1); ``now`` is in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from idnode_protocol.errors import InvalidText, ProtocolError
from idnode_protocol.handle import from_text, to_text
from idnode_protocol.json_form import value_to_json
from idnode_protocol.json_members import JsonObject, Members, as_array, as_text
from idnode_protocol.value import HandleValue
from idnode_registry.trust.judge import Trust, judge_record, run
from idnode_registry.trust.keys import DEFAULT_RULES, KeyRules, key_from_octets
from idnode_registry.trust.lab.drafts import Expected, Sample
from idnode_registry.trust.verdicts import Finding, Outcome, RecordVerdict

FORMAT = 1


def judge_sample(sample: Sample, rules: KeyRules = DEFAULT_RULES) -> RecordVerdict:
    """Our verdict on a case."""
    trust = Trust(tuple(key_from_octets(octets, rules) for octets in sample.roots), rules)
    return run(judge_record(sample.handle, sample.values, trust, sample.now), sample.handles.get)


def samples_to_json(samples: Iterable[Sample]) -> JsonObject:
    """Every case with its expectation, and the reason that our verifier gives."""
    return {"format": FORMAT, "cases": [_to_json(sample) for sample in samples]}


def _to_json(sample: Sample) -> JsonObject:
    expected = sample.expected
    return {
        "name": sample.name,
        "text": sample.text,
        "handle": to_text(sample.handle),
        "now": sample.now,
        "roots": [octets.hex() for octets in sample.roots],
        "values": _hex(sample.values),
        "valuesJson": [value_to_json(value) for value in sample.values],
        "handles": {to_text(name): _hex(values) for name, values in sample.handles.items()},
        "expected": {
            "verdict": expected.outcome.value,
            "finding": expected.finding.value,
            "signature": expected.signature,
            "place": expected.place,
            "values": list(expected.values),
            "reason": judge_sample(sample).reason,
            "referenceDiffers": expected.reference_differs,
        },
    }


def _hex(values: Sequence[HandleValue]) -> list[str]:
    return [value.to_octets().hex() for value in values]


def samples_from_json(item: object) -> list[Sample]:
    """The cases of a file; raises :class:`InvalidText` naming the member at fault."""
    members = Members(item, "")
    if members.get("format") != FORMAT:
        raise InvalidText(f"format must be {FORMAT}: the file was made by another version")
    return [_from_json(case, f"cases[{place}]") for place, case in enumerate(members.array("cases"))]


def _from_json(item: object, path: str) -> Sample:
    members = Members(item, path)
    handles = members.need("handles")
    now = members.need("now")
    if not isinstance(handles, dict) or not isinstance(now, int | float):
        raise InvalidText(f"{path}: handles must be an object and now a number")
    return Sample(
        members.text("name", ""),
        members.text("text", ""),
        from_text(members.text("handle")),
        _values(members.array("values"), members.where("values")),
        {from_text(name): _values(as_array(each, path), f"{path}.handles") for name, each in handles.items()},
        tuple(_octets(each, members.where("roots")) for each in members.array("roots")),
        float(now),
        _expected(members.get("expected"), members.where("expected")),
    )


def _octets(item: object, path: str) -> bytes:
    try:
        return bytes.fromhex(as_text(item, path))
    except ValueError as wrong:
        raise InvalidText(f"{path} must be hexadecimal, two digits an octet") from wrong


def _values(items: list[object], path: str) -> tuple[HandleValue, ...]:
    try:
        return tuple(HandleValue.from_octets(_octets(item, path)) for item in items)
    except InvalidText:
        raise
    except ProtocolError as wrong:
        raise InvalidText(f"{path} holds what is no handle value: {wrong}") from wrong


def _expected(item: object, path: str) -> Expected:
    if item is None:
        return Expected(Outcome.VALID)
    members = Members(item, path)
    place, signature = members.get("place"), members.get("signature")
    try:
        outcome, finding = Outcome(members.text("verdict")), Finding(members.text("finding"))
    except ValueError as wrong:
        raise InvalidText(f"{path}: {wrong}") from wrong
    return Expected(
        outcome,
        finding,
        signature if isinstance(signature, int) else None,
        place if isinstance(place, int) else None,
        tuple(index for index in members.array("values") if isinstance(index, int)),
        members.text("referenceDiffers", ""),
    )
