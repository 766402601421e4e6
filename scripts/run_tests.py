"""Every test: first those that may share the machine, two at a time, then the serial ones; one closing line for both.

Arguments are passed on to pytest. Exit status 0 only if both rounds passed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROUNDS = (
    ("parallel", ["-m", "not serial and not prove", "-n", "2", "--dist", "loadfile"]),
    ("serial", ["-m", "serial and not prove"]),
)
NO_TESTS_COLLECTED = 5
"""pytest's own exit status; a round may be empty when the caller selected a single test."""


def counts(report: Path) -> tuple[Counter[str], float]:
    """Outcomes and seconds of one JUnit report; both zero when pytest did not get as far as writing it."""
    if not report.exists():
        return Counter(), 0.0
    total: Counter[str] = Counter()
    seconds = 0.0
    for suite in ElementTree.parse(report).iter("testsuite"):
        failed, errors, skipped = (int(suite.get(name, "0")) for name in ("failures", "errors", "skipped"))
        total.update(failed=failed, errors=errors, skipped=skipped)
        total["passed"] += int(suite.get("tests", "0")) - failed - errors - skipped
        seconds += float(suite.get("time", "0"))
    return total, seconds


def main(arguments: list[str]) -> int:
    total: Counter[str] = Counter()
    seconds = 0.0
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, selection in ROUNDS:
            report = Path(folder, f"{name}.xml")
            command = [sys.executable, "-m", "pytest", "-q", *selection, f"--junitxml={report}", *arguments]
            code = subprocess.run(command, check=False).returncode
            if code not in (0, NO_TESTS_COLLECTED):
                status = status or code
            round_total, round_seconds = counts(report)
            total.update(round_total)
            seconds += round_seconds
    if not total["passed"] and not status:
        status = NO_TESTS_COLLECTED
    names = ("failed", "passed", "skipped", "errors")
    outcome = ", ".join(f"{total[name]} {name}" for name in names if total[name]) or "no tests ran"
    print(f" {outcome} in {seconds:.2f}s ".center(100, "="), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
