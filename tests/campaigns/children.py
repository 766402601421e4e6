"""Processes beside the node (flood, prober), and how their figures are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a child printed; the test fails if it ended with an error, whose text is in the captured output."""
    text, _ = process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(text)
    return found


def at(samples: Sequence[float | None], share: float) -> float:
    """The percentile, unanswered ones counted as infinitely slow."""
    ordered = sorted(float("inf") if each is None else each for each in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(samples: Mapping[str, Sequence[float | None]]) -> None:
    for kind, each in samples.items():
        figures = ", ".join(f"{name} {at(each, share) * 1e3:.1f} ms" for name, share in (("p50", 0.5), ("p99", 0.99)))
        unanswered = sum(one is None for one in each)
        print(f"  {kind}: {len(each)} asked, {unanswered} unanswered, {figures}, max {at(each, 1.0) * 1e3:.1f} ms")
