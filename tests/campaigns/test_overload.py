"""UDP at five times what a node can answer, for 30 seconds: whoever monitors it or asks by TCP or HTTP notices little.

Four kinds of datagrams, since each overloads another part: answers from the cache the UDP loop, names that do not exist
the registry, requests for the chain the tasks, certified ones the workers. The node, the flood and the prober are
processes of their own; the prober's figures contain its own lateness, and nothing is subtracted. A node that does not
give way fails the same test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node_process import RunningNode, started_node

HERE = Path(__file__).parent
HANDLE = "99.900/ADMIN"
OVERLOAD = 5.0
OFFER_S = {"test": {"plain": 30.0, "random": 10.0, "general": 10.0, "certified": 10.0}}
"""Seconds by campaign and kind: 30 for all of them but in ``make test``."""
GREEDY_S = 4.0
STEP_S = 1.0
FIRST_RATE_PER_S = {"plain": 10_000.0, "random": 1_000.0, "general": 1_000.0, "certified": 125.0}
RATE_MAX_PER_S = 2_000_000.0
EVERY_MS = 100
LIVEZ_WITHIN_S = 0.1

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a child printed; the test fails if it ended with an error, whose text is in the captured output."""
    text, _ = process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass(frozen=True, slots=True)
class Offered:
    """Datagrams per second: offered by the flood, answered by the node while it was offered."""

    offered_per_s: float
    answered_per_s: float


class Overload:
    """Floods one node with one kind of datagram."""

    def __init__(self, node: RunningNode, kind: str) -> None:
        self.node, self.kind = node, kind
        self._udp = str(node.description["udp"]).rpartition(":")[::2]

    def offer(self, rate_per_s: float, seconds: float) -> Offered:
        before = self.node.counters()
        flood = result(child("udp_flood.py", self.kind, *self._udp, rate_per_s, seconds))
        assert flood["refused"] == 0, "nobody listens"
        answered = (self.node.counters() - before).total("hdl_requests_total", transport="udp")
        return Offered(flood["rate_per_s"], answered / flood["seconds"])

    def saturation_per_s(self) -> float:
        """The most it answers: the offer doubles until a third of it, or more, goes unanswered."""
        rate, best = FIRST_RATE_PER_S[self.kind], 0.0
        while rate < RATE_MAX_PER_S:
            step = self.offer(rate, STEP_S)
            best = max(best, step.answered_per_s)
            if step.answered_per_s < step.offered_per_s * 2 / 3:
                return best
            rate *= 2
        raise AssertionError(f"{RATE_MAX_PER_S:g} datagrams per second do not saturate the node")

    def probed(self, rate_per_s: float, seconds: float) -> tuple[Offered, Mapping[str, list[float | None]]]:
        """The flood with the prober beside it."""
        facts = self.node.description
        prober = child("prober.py", "-", facts["tcp"], facts["http"], HANDLE, EVERY_MS, seconds)
        offered = self.offer(rate_per_s, seconds)
        return offered, result(prober)


def at(samples: Sequence[float | None], share: float) -> float:
    """The percentile, unanswered ones counted as infinitely slow."""
    ordered = sorted(float("inf") if each is None else each for each in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(samples: Mapping[str, Sequence[float | None]]) -> None:
    for kind, each in samples.items():
        figures = ", ".join(f"{name} {at(each, share) * 1e3:.1f} ms" for name, share in (("p50", 0.5), ("p99", 0.99)))
        unanswered = sum(one is None for one in each)
        print(f"  {kind}: {len(each)} asked, {unanswered} unanswered, {figures}, max {at(each, 1.0) * 1e3:.1f} ms")


def complaints(samples: Mapping[str, Sequence[float | None]], seconds: float) -> list[str]:
    """What the issue forbids: an unanswered question, or a /livez that took 100 ms, be it one of 300."""
    found = []
    for kind in ("livez", "tcp", "http"):
        asked = samples.get(kind, ())
        if len(asked) != round(seconds * 1_000 / EVERY_MS) or None in asked:
            found.append(f"{kind}: of {len(asked)} asked {sum(one is None for one in asked)} were not answered")
    if at(samples["livez"], 1.0) >= LIVEZ_WITHIN_S:
        found.append(f"livez took {at(samples['livez'], 1.0) * 1e3:.0f} ms")
    return found


@pytest.mark.parametrize("kind", FIRST_RATE_PER_S)
def test_everybody_else_is_served_at_five_times_saturation(kind: str, campaign: str) -> None:
    seconds = OFFER_S.get(campaign, {}).get(kind, 30.0)
    with started_node() as node:
        overload = Overload(node, kind)
        saturation = overload.saturation_per_s()
        offered, samples = overload.probed(OVERLOAD * saturation, seconds)
        shed = node.counters().label_values("hdl_shed_total", "reason")
    print(f"{kind}: saturated at {saturation:,.0f}/s; {offered}; shed {dict(shed)}")
    show(samples)
    assert offered.offered_per_s >= 0.95 * OVERLOAD * saturation, "the flood fell behind: the run proves nothing"
    assert complaints(samples, seconds) == []


def test_a_node_that_does_not_give_way_fails() -> None:
    with started_node(program=(str(HERE / "greedy_node.py"),)) as node:
        overload = Overload(node, "plain")
        offered, samples = overload.probed(OVERLOAD * overload.saturation_per_s(), GREEDY_S)
    print(offered)
    show(samples)
    assert complaints(samples, GREEDY_S) != []
