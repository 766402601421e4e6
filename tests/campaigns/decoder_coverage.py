"""A process that runs the corpus and hostile inputs through the decoders and tells which branches they took.

    decoder_coverage.py SEED INPUTS

Out, one JSON object: ``{"functions": [[name, lines, lines taken, branches, branches taken], ...], "missing": [text,
...], "package": percent}``. Counted is every function of ``idnode_protocol`` that has anything to do with octets or
JSON texts before they are understood: those whose qualified name matches :data:`DECODERS`. Not counted are the
functions that only write, sign, fold names or do arithmetic; ``package`` has them in it.
"""

from __future__ import annotations

import json
import random
import re
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coverage import Coverage

DECODERS = re.compile(
    r"""
      (^|\.)_?decode | from_octets$ | (^|[._])from_(json|text|base64)$ | _from_(json|text)$   # what reads, by its name
    | ^(Reader|Reassembler|_Set|Members)\. | ^(fragment_count|fragment_octets)$               # cursors and collectors
    | \._read$ | ^_(open|integers?|once|no_constant|key_type|ttl|permissions|admin_permissions|attributes)$
    | ^(StreamReader|ReplicationState\.from_octets|_transaction|_queue|_queue_end|_end|_manifest|_entry|_withheld)
    | ^_(position|states|handle_date|prefix_date|record|homed|complete|values_from|object|number|state|wish)$
    | ^(stream_type|_protocol_version)$
    | ^(parse_json|check_depth|as_\w+|answer_code|cost_objection|codec_for)$
    """,
    re.VERBOSE,
)
NOT_FROM_STRANGERS = frozenset({"handle.py"})
"""Names typed by a person on this machine."""


def run(seed: int, inputs: int) -> None:
    """Everything recorded, made and hostile, once; imported here, so that definitions are measured too."""
    from idnode_protocol.errors import RemoteError
    from idnode_protocol.fragments import Reassembler, ReassemblyLimits, split_message
    from idnode_protocol.value import HandleValue
    from tests.campaigns import corpus, hostile

    chance = random.Random(seed)
    messages, texts = corpus.recorded() + corpus.made(), corpus.json_texts()
    values = [value.to_octets() for value in corpus.VALUES]
    reassemblers = (Reassembler(), Reassembler(ReassemblyLimits(octets_max=4_096)))
    hostile.digest_json(corpus.TOO_LONG_JSON)
    for number in range(inputs):
        whole = messages[number] if number < len(messages) else hostile.hostile(messages, number, chance)
        text = texts[number] if number < len(texts) else hostile.hostile_json(texts, chance)
        value = values[number] if number < len(values) else hostile.one_field(chance.choice(values), chance)
        with suppress(RemoteError):
            hostile.digest_everything(whole)
        with suppress(RemoteError):
            hostile.through_json(HandleValue.from_octets(value))
        hostile.digest_json(text)
        mirrored(number, chance)
        datagrams = split_message(chance.choice(messages))
        chance.shuffle(datagrams)
        for datagram in datagrams:
            sent = hostile.one_field(datagram, chance) if number % 3 else datagram
            for reassembler in reassemblers:
                reassembler.add(chance.randrange(9), sent, number / 9)
    if any(each.octets > 8 * 1024 * 1024 or each.sets > 18 for each in reassemblers):
        raise AssertionError("a reassembler keeps more than it may")


def mirrored(number: int, chance: random.Random) -> None:
    """One stream and one state: as they should be every third time, else with something wrong."""
    from idnode_protocol.errors import RemoteError
    from tests.campaigns import corpus_streams, hostile

    def hurt(octets: bytes) -> bytes:
        return hostile.one_field(octets, chance) if number % 3 else octets

    is_dump, octets = chance.choice(corpus_streams.streams())
    for work in (
        lambda: hostile.digest_stream(hurt(octets), is_dump=is_dump),
        lambda: hostile.digest_stream(hurt(chance.choice(corpus_streams.signed_streams())), is_dump=True, signed=True),
        lambda: hostile.digest_state(hostile.hostile_json(corpus_streams.states(), chance)),
        lambda: hostile.digest_state(hurt(chance.choice(corpus_streams.states()))),
    ):
        with suppress(RemoteError):
            work()


def counted(report: dict[str, Any]) -> dict[str, Any]:
    functions: list[list[Any]] = []
    missing: list[str] = []
    for path, facts in sorted(report["files"].items()):
        name = Path(path).name
        for function, region in facts["functions"].items():
            if name in NOT_FROM_STRANGERS or not DECODERS.search(function):
                continue
            summary = region["summary"]
            functions.append(
                [
                    f"{name}:{function}",
                    summary["num_statements"],
                    summary["covered_lines"],
                    summary["num_branches"],
                    summary["covered_branches"],
                ]
            )
            missing += [f"{name}:{function} line {line}" for line in region["missing_lines"]]
            missing += [f"{name}:{function} {start} -> {stop}" for start, stop in region["missing_branches"]]
    return {"functions": functions, "missing": missing, "package": report["totals"]["percent_covered"]}


def main(seed: str, inputs: str) -> None:
    measured = Coverage(branch=True, data_file=None, config_file=False, source_pkgs=["idnode_protocol"])
    with measured.collect():
        run(int(seed), int(inputs))
    with TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        measured.json_report(outfile=str(file))
        print(json.dumps(counted(json.loads(file.read_text()))))


if __name__ == "__main__":
    main(*sys.argv[1:])
