"""What every test shares: hypothesis profiles, the size of the campaigns, and a seed that is always printed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from hypothesis import settings

from tests.campaigns.results import Result

CAMPAIGN = os.environ.get("IDNODE_CAMPAIGN", "test")
"""``test`` (minutes), ``fuzz`` or ``prove`` (hours): the same code, more of it. Set by the Makefile."""
SEED = int(os.environ.setdefault("IDNODE_SEED", str(secrets.randbelow(2**32))))
"""Put back into the environment, so that pytest-xdist's workers use the one that was printed."""

settings.register_profile("ci", derandomize=False, print_blob=True, deadline=None)
settings.register_profile("prove", parent=settings.get_profile("ci"), max_examples=10_000)
settings.load_profile("prove" if CAMPAIGN == "prove" else "ci")


def pytest_report_header() -> str:
    return f"idnode: IDNODE_SEED={SEED} IDNODE_CAMPAIGN={CAMPAIGN}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"repeat with IDNODE_SEED={SEED}")


@pytest.fixture(scope="session")
def seed() -> int:
    """The number every random choice of a test starts from."""
    return SEED


@pytest.fixture(scope="session")
def campaign() -> str:
    """How much to run: ``test``, ``fuzz`` or ``prove``."""
    return CAMPAIGN


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent


@pytest.fixture
def result(campaign: str, seed: int) -> Result:
    """Where a run's figures go: to docs/results under ``make prove``. Its time counts from the test's begin."""
    return Result.of(campaign, seed)
