"""The reference's trust package behind one JVM: a list of commands in, a list of answers out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.clients.java_client import FAST_START, JavaClientDied

MAIN_CLASS = "idnode.trust.TrustCases"
TIMEOUT_S = 300


def ask_java(class_path: str, folder: Path, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One answer per command, in order; ``folder`` is the client's (empty) configuration. Raises JavaClientDied."""
    lines = "".join(json.dumps(command) + "\n" for command in commands)
    command = ["java", *FAST_START, f"-Dnet.handle.configDir={folder}", "-cp", class_path, MAIN_CLASS]
    run = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=TIMEOUT_S)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode or len(answers) != len(commands):
        raise JavaClientDied(
            f"status {run.returncode}, {len(answers)} of {len(commands)} answers:\n{run.stderr.decode()}"
        )
    return answers
