"""What a long run found, as a file in docs/results, with commit, seed, machine and duration: it can be repeated."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from idnode.adapters import real_adapters
from idnode_bench.environment import capture

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@dataclass(frozen=True, slots=True)
class Result:
    """Made when a run begins; written only under ``make prove`` (``folder`` None: nowhere)."""

    folder: Path | None
    seed: int
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, campaign: str, seed: int) -> Result:
        """Of a run that begins now: kept under ``make prove`` only."""
        return cls(RESULTS if campaign == "prove" else None, seed)

    def write(self, name: str, **counts: object) -> Path | None:
        """``<date>-<name>.json``; a second run of the same day replaces the first."""
        if self.folder is None:
            return None
        adapters = real_adapters()
        try:
            environment = capture(adapters, self.seed).to_json()
        finally:
            adapters.close()
        duration_s = round(time.monotonic() - self.started, 1)
        report = {"report": name, "version": 1, "environment": environment, "duration_s": duration_s, "counts": counts}
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{name}.json"
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}", file=sys.stderr)
        return path
