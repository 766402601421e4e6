"""``idnode`` with every bound on verification switched off, for tests that must show what the bounds are worth."""

from __future__ import annotations

from typing import Any

from idnode.cli.main import main
from idnode.trust import turns, verifier
from idnode_registry.trust import chain, judge, work

PLENTY = 10**9


def _lift_the_bounds() -> None:
    bounds: dict[Any, dict[str, object]] = {
        judge: {"SIGNATURES_PER_RECORD_MAX": PLENTY},
        chain: {"CERTIFICATES_PER_HANDLE_MAX": PLENTY},
        work: {"SIGNATURE_CHECKS_PER_RECORD_MAX": PLENTY, "PARSED_OCTETS_PER_RECORD_MAX": PLENTY},
        turns: {"RESTS": 0.0, "WAITING_PER_CLIENT_MAX": PLENTY, "WAITING_MAX": PLENTY},
        verifier: {"VERIFY_S_MAX": 60.0},
    }
    work.Budget.__init__.__defaults__ = (PLENTY,)
    for module, names in bounds.items():
        for name, value in names.items():
            assert hasattr(module, name), name
            setattr(module, name, value)


if __name__ == "__main__":
    _lift_the_bounds()
    main()
