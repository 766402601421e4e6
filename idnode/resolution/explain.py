"""A walk, told: every step with what was asked, of whom, what was remembered, why it went on, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from idnode.resolution.question import Outcome
from idnode_protocol.codes import response_text
from idnode_protocol.json_form import value_to_json
from idnode_registry.trust.verdicts import RecordVerdict

Fact = str | int | float | bool
STEPS_MAX: Final = 1_024
"""Recorded of one walk; its budgets end it long before."""


@dataclass(slots=True)
class Step:
    """``kind``: resolve, service, ask, cache, referral, loop, stale, alias, root, verify, signature, link or budget.

    ``started_s`` counts from the beginning of the walk, ``seconds`` is its duration.
    """

    kind: str
    subject: str
    started_s: float
    seconds: float = 0.0
    facts: dict[str, Fact] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def say(self, **facts: Fact) -> None:
        """Add what became known."""
        self.facts.update(facts)

    def to_json(self) -> dict[str, object]:
        """Milliseconds in ``startedMs`` and ``ms``; everything else as it stands."""
        members: dict[str, object] = {
            "step": self.kind,
            "subject": self.subject,
            "startedMs": round(self.started_s * 1000, 3),
            "ms": round(self.seconds * 1000, 3),
            **self.facts,
        }
        if self.steps:
            members["steps"] = [step.to_json() for step in self.steps]
        return members


class Trace:
    """Collects the steps of one walk; steps opened inside a step become its children."""

    def __init__(self, monotonic: Callable[[], float], wall_s: float = 0.0) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self.wall_s = wall_s
        """When the walk began, seconds since 1970."""
        self.steps: list[Step] = []
        self.is_reported = False
        """As spans; a trace that several walks write into is told once."""
        self._open: list[list[Step]] = [self.steps]
        self._number = 0

    @contextmanager
    def step(self, kind: str, subject: str, **facts: Fact) -> Iterator[Step]:
        """A step that lasts as long as the block."""
        step = self.note(kind, subject, **facts)
        self._open.append(step.steps)
        try:
            yield step
        finally:
            self._open.pop()
            step.seconds = self._monotonic() - self._began - step.started_s

    def note(self, kind: str, subject: str, **facts: Fact) -> Step:
        """A step that takes no time."""
        step = Step(kind, subject, self._monotonic() - self._began, facts=dict(facts))
        self._number += 1
        if self._number <= STEPS_MAX:
            self._open[-1].append(step)
        return step

    @property
    def seconds(self) -> float:
        """Since the walk began."""
        return self._monotonic() - self._began


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a name was resolved: JSON, a tree of text, or a Mermaid sequence diagram."""

    handle: str
    outcome: Outcome
    steps: tuple[Step, ...]
    seconds: float
    packets: int = 0
    signatures: RecordVerdict | None = None
    """The verdict on the record's signatures, when they were looked at."""

    @property
    def verdict(self) -> str:
        """One line."""
        outcome = self.outcome
        if outcome.is_success:
            return "found, stale" if outcome.is_stale else "found"
        reason = outcome.failure or response_text(outcome.code)
        return f"{reason}: {outcome.text}" if outcome.text else str(reason)

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        outcome = self.outcome
        signatures = {} if self.signatures is None else {"signatures": self.signatures.to_json()}
        return {
            "handle": self.handle,
            "responseCode": int(outcome.code),
            "outcome": self.verdict,
            "ms": round(self.seconds * 1000, 3),
            "upstreamPackets": self.packets,
            "stale": outcome.is_stale,
            "ageSeconds": round(outcome.age_s, 3),
            "values": [value_to_json(value) for value in outcome.values],
            **signatures,
            "steps": [step.to_json() for step in self.steps],
        }

    def to_text(self) -> str:
        """A tree; a step is a line."""
        lines = [f"{self.handle}: {self.verdict} ({self.seconds * 1000:.1f} ms, {self.packets} packets upstream)"]
        for place, step in enumerate(self.steps):
            lines += _tree(step, "", is_last=place == len(self.steps) - 1)
        return "\n".join(lines)

    def to_mermaid(self) -> str:
        """A sequence diagram: the client, and every server that was asked."""
        lines = ["sequenceDiagram", "    participant R as resolver"]
        names: dict[str, str] = {}
        body: list[str] = []
        for step in _all(self.steps):
            if step.kind == "ask":
                server = str(step.facts.get("server", "?"))
                short = names.setdefault(server, f"S{len(names) + 1}")
                body.append(f"    R->>{short}: {_plain(step.subject)}")
                answer = step.facts.get("answer") or step.facts.get("error") or "no answer"
                body.append(f"    {short}-->>R: {_plain(str(answer))}")
            elif step.kind in ("cache", "referral", "loop", "stale", "budget", "alias", "verify", "signature"):
                body.append(f"    Note over R: {step.kind} {_plain(step.subject)}")
        lines += [f"    participant {short} as {_plain(server)}" for server, short in names.items()]
        return "\n".join([*lines, *body, f"    Note over R: {_plain(self.verdict)}"])


def _all(steps: tuple[Step, ...] | list[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _all(step.steps)


def _plain(text: str) -> str:
    """Text that Mermaid takes for nothing else: its own marks and line ends are replaced."""
    return "".join(" " if sign in ";#<>\r\n" else sign for sign in text)[:120]


def _tree(step: Step, indent: str, *, is_last: bool) -> list[str]:
    facts = ", ".join(f"{name} {_shown(value)}" for name, value in step.facts.items())
    time = f" [{step.seconds * 1000:.1f} ms]" if step.seconds else ""
    subject = step.subject.replace("\r", " ").replace("\n", " ")
    lines = [f"{indent}{'└' if is_last else '├'} {step.kind} {subject}{': ' if facts else ''}{facts}{time}"]
    inner = indent + ("  " if is_last else "│ ")
    for place, child in enumerate(step.steps):
        lines += _tree(child, inner, is_last=place == len(step.steps) - 1)
    return lines


def _shown(value: Fact) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.1f}" if isinstance(value, float) else str(value).replace("\n", " ")
