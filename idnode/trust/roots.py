"""The verifier of a node, out of its settings: whom it believes, what it does about what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idnode.trust.turns import Turns
from idnode.trust.verification import Mode, trust_of
from idnode.trust.verifier import Verifier
from idnode_registry.trust.errors import NoTrustRoot
from idnode_registry.trust.verdicts import Outcome, RecordVerdict

if TYPE_CHECKING:
    from idnode.adapters import Adapters
    from idnode.config import TrustConfig
    from idnode.logs import NodeLog
    from idnode.metrics import Metrics
    from idnode.resolution.engine import Resolution


def load_verifier(
    config: TrustConfig, resolution: Resolution | None, adapters: Adapters, log: NodeLog, metrics: Metrics
) -> Verifier | None:
    """None unless ``trust.verify`` asks for one; raises :class:`NoTrustRoot`, KeyRefused, OSError.

    It believes the keys its resolution starts with and those of ``trust.root_files``. Every verdict is counted, and
    logged when it is not *valid*; *not signed* is logged only where it means that the record is withheld.
    """
    mode = Mode(config.verify)
    if mode is Mode.OFF:
        return None
    if resolution is None:
        raise NoTrustRoot(
            "trust.verify judges what is resolved elsewhere: set resolution.client_config, a start for it"
        )
    keys = [*resolution.roots.keys, *map(adapters.disk.read, config.root_files)]
    if not keys:
        raise NoTrustRoot(
            "trust.verify needs a root key: name a file of HS_PUBKEY data in trust.root_files, or give 0.0/0.0 an "
            "HS_PUBKEY value in resolution.client_config's bootstrap_handles"
        )
    is_required = mode is Mode.REQUIRE

    def tell(verdict: RecordVerdict) -> None:
        found = verdict.outcome
        metrics.verdict(found)
        if found is Outcome.INVALID or found is Outcome.NOT_CHECKED or (is_required and not verdict.is_valid):
            log.write(
                "not-valid",
                handle=verdict.handle,
                verdict=found.value,
                reason=verdict.reason,
                withheld=is_required,
            )

    turns = Turns(adapters.clock, adapters.run_blocking)
    return Verifier(resolution, trust_of(keys), turns, mode=mode, tell=tell)
