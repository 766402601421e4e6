"""The registry: records, prefixes and rights above one store.

::

    Ask, Caller, now --> answer() --> Reply                      reads only, decides
                                  \\-> Plan --> store --> Reply   execute(): writes, decides anew on a conflict
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from idnode_protocol.codes import ResponseCode
from idnode_protocol.handle import fold_name, split, with_slash
from idnode_protocol.value import HandleValue, Reference, values_from_octets
from idnode_protocol.values.site import SiteInfo
from idnode_registry import format as record_format
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.check import check_registry
from idnode_registry.elsewhere import CERTIFIED, Elsewhere, Known, NotAtHand, Wanted
from idnode_registry.errors import StoreClosed
from idnode_registry.execution import DAMAGE, DAMAGED, Execution
from idnode_registry.operations import decide
from idnode_registry.place import Place
from idnode_registry.plans import Change, Listener, Plan
from idnode_registry.prefixes import HomedPrefixes, is_internal
from idnode_registry.ranges.asks import RANGE_WRITES
from idnode_registry.ranges.ranges import Ranges
from idnode_registry.ranges.signing import MemberSigner
from idnode_registry.ranges.turns import Turns
from idnode_registry.referrals import referral
from idnode_registry.replication.journal_feed import FrontierIndex
from idnode_registry.replication.sequence import Sequencer
from idnode_registry.shortcut import Shortcut
from idnode_registry.store import Problem, Store
from idnode_registry.templates.namespace import parse_namespace
from idnode_registry.tombstones import is_tombstone
from idnode_registry.trust.sealing import Sealer
from idnode_registry.verify import Verdict, authenticate

__all__ = ["Change", "Plan", "Registry", "RegistrySettings"]


DECODED_OCTETS_MAX: Final = 1_024
_decoded = lru_cache(maxsize=2_048)(values_from_octets)
"""Keys, groups and the administrators of a prefix are read again and again; what changes has other octets."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """The switches of docs/protocol.md §5.6. References with index 0 name every key of a handle."""

    server_admins: tuple[Reference, ...] = ()
    """May home and unhome prefixes, and anything at all with ``server_admin_full_access``."""
    home_only_admins: tuple[Reference, ...] = ()
    backup_admins: tuple[Reference, ...] = ()
    replication_admins: tuple[Reference, ...] = ()
    server_admin_full_access: bool = False
    allow_prefix_admins: bool = True
    """Off: the HS_ADMIN values of prefix handles count for nothing when handles are created or listed."""
    allow_list: bool = True
    anonymous_full_access: bool = False
    """Switches every question of rights off."""
    after_images: bool = False
    """Journal entries carry the record as it was after the change."""
    namespace: bytes | None = None
    """HS_NAMESPACE data for prefixes whose prefix handle has none (docs/protocol.md §9)."""
    namespace_override: bytes | None = None
    """HS_NAMESPACE data that stands in the place of every prefix handle's."""
    template_delimiter: bytes | None = None
    """Where names that are not stored are cut when no namespace says."""
    is_mirror: bool = False
    """Whatever changes records or prefixes is refused: a primary elsewhere does that."""
    site_name: str = "idnode"
    """Names the transaction queue of this server in streams of the reference's format 2."""

    def __post_init__(self) -> None:
        """Raises :class:`TemplateRefused` for a namespace that cannot be used."""
        for octets in (self.namespace, self.namespace_override):
            if octets is not None:
                parse_namespace(octets)


class Registry:
    """Decides about requests and carries them out. All methods may be called from any thread.

    ``rng`` (n -> n random octets) mints names. ``on_change`` is told of each commit before its reply is given.
    With a ``sealer`` every record that is created or changed is signed in the same write, which takes milliseconds;
    members of ranges are signed when they are read.
    """

    def __init__(
        self,
        store: Store,
        settings: RegistrySettings | None = None,
        *,
        rng: Callable[[int], bytes],
        site: SiteInfo | None = None,
        on_change: Listener | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        self.store = store
        self.settings = settings or RegistrySettings()
        self.random = rng
        self.site = site
        self.place: Place | None = None
        self.on_change = on_change
        self.elsewhere: Elsewhere | None = None
        """What is at hand of other servers' records; None = nothing is, and none can be fetched."""
        self.sign: Callable[[bytes], bytes] | None = None
        """The node's signature, SHA-256; without it nothing is vouched for and our own mirrors are not served."""
        self.sealer = sealer
        self.homed = HomedPrefixes(store)
        self.ranges = Ranges(store)
        self._turns = Turns()
        self.shortcut = Shortcut(self)
        self.sequencer = Sequencer(store)
        self.frontiers = FrontierIndex(store)
        self._folds_whole = store.case_mode == "fold-all"

    @property
    def sealer(self) -> Sealer | None:
        """Signs every record that is created or changed, and members of ranges when they are read; None = nobody."""
        return self._sealer

    @sealer.setter
    def sealer(self, sealer: Sealer | None) -> None:
        self._sealer = sealer
        self.member_signer = None if sealer is None else MemberSigner(sealer)

    def read_anew(self) -> None:
        """Take over what the store says by now about this server; for stores that another process writes."""
        self.homed = HomedPrefixes(self.store)
        self.ranges.catch_up()

    def take_place(self, site: SiteInfo, server_id: int) -> None:
        """Be that server of this site: other servers' names get 301. Raises :class:`NoSuchServer`, changing nothing."""
        self.place = Place.of(site, server_id)
        self.site = site

    def fold(self, name: bytes) -> bytes:
        """The name as this store compares it; the length never changes."""
        return fold_name(name, whole=self._folds_whole)

    def record(self, name: bytes) -> bytes | None:
        """The record's octets; a bare prefix names its prefix handle. Homed or not. Raises ReadingError.

        Stored, or of a range's member made as it would be stored (with serial 0).
        """
        prefix, suffix = split(self.fold(with_slash(name)))
        record = self.store.get(prefix, suffix)
        if record is not None:
            return None if is_tombstone(record) else record
        member = self.ranges.member_record(prefix, suffix)
        return None if member is None else record_format.pack(member.handle, 0, member.values)

    def values(self, name: bytes) -> tuple[HandleValue, ...] | None:
        """Every value of the record by index, whatever its permissions; None = absent. For our own use."""
        record = self.record(name)
        if record is None:
            return None
        octets = bytes(record_format.value_list(record))
        return _decoded(octets) if len(octets) <= DECODED_OCTETS_MAX else values_from_octets(octets)

    def is_homed(self, name: bytes) -> bool:
        """Whether this server answers for the name."""
        return self.homed.covers(self.fold(with_slash(name)))

    def is_elsewhere(self, name: bytes) -> bool:
        """Whether a record can only be had from another server, and there is a way to ask. Raises ReadingError."""
        if self.elsewhere is None or self.record(name) is not None:
            return False
        folded = self.fold(with_slash(name))
        return not self.homed.covers(folded) or (self.place is not None and not self.place.holds(folded))

    def from_elsewhere(self, wanted: Wanted) -> Known:
        """What is at hand of another server's record. Raises :class:`NotAtHand`."""
        known = None if self.elsewhere is None else self.elsewhere(wanted)
        if known is None or known.failure:
            raise NotAtHand(wanted, known)
        return known

    def homed_prefixes(self) -> tuple[bytes, ...]:
        """The homed prefix handles, such as ``0.NA/99.900``, sorted."""
        return self.homed.names

    def prefixes(self) -> tuple[bytes, ...]:
        """The folded prefixes that ever held a record, ``99.900``, sorted."""
        return tuple(prefix for prefix in self.store.prefixes() if not is_internal(prefix))

    def count(self, prefix: bytes) -> int:
        """Records individually stored under a prefix (``99.900``, any case)."""
        folded = prefix.upper()
        return sum(self.store.head(folded, bucket).records for bucket in self.store.buckets(folded))

    def answer(self, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
        """The decision about a request at ``now`` (s since 1970). Reads the store, never waits for a write."""
        try:
            return decide(self, ask, caller, now)
        except StoreClosed:
            return refusal(ResponseCode.SERVER_BUSY, "the server is stopping")
        except DAMAGE:
            # Never served and never written over; code 2 makes a client try another server of the site.
            return refusal(ResponseCode.ERROR, DAMAGED)
        except NotAtHand as missing:
            is_right = missing.wanted.need in CERTIFIED
            refused = refusal(
                ResponseCode.AUTHENTICATION_ERROR if is_right else ResponseCode.ERROR, f"{missing}; try again later"
            )
            return replace(refused, is_lasting=False, wanted=None if missing.was_asked_for else missing.wanted)

    def refer(self, ask: Ask) -> Reply | None:
        """The referral of a request the node itself carries out (opcode 201), when its name is not stored here."""
        name = self.fold(with_slash(ask.request.handle))
        try:
            return None if self.record(name) is not None else referral(self, ask, name)
        except DAMAGE:
            return None  # the operation meets the same record and says so

    def execute(self, ask: Ask, caller: Caller, now: float) -> Future[Reply]:
        """Decide and write. The future holds a reply for whatever a client may cause and for a failing disk."""
        start = Execution(self, ask, caller, now).start
        return self._turns.take(start) if ask.opcode in RANGE_WRITES else start()

    def committed(self, plan: Plan) -> None:
        """Take note of a plan that was, or may have been, applied."""
        self.noted(plan.change)

    def noted(self, change: Change) -> None:
        """Take note of a change that was, or may have been, made; forgetting cached answers is never wrong."""
        if change.is_homing:
            self.homed.refresh(change.name)
        if change.range_row:
            self.ranges.refresh(change.range_row)
        if change.is_homing or change.is_prefix_handle:
            self.shortcut.forget()
        if self.on_change is not None:
            self.on_change(change)

    def authenticate(
        self,
        auth_type: str,
        user_handle: bytes,
        user_index: int,
        signed_response: bytes,
        nonce: bytes,
        digest: bytes,
        *,
        allow_weak: bool,
    ) -> Verdict:
        """Whether the answer to a challenge is the user's; costs CPU time, run it in a worker. Keys are read here."""
        return authenticate(
            self.values, auth_type, user_handle, user_index, signed_response, nonce, digest, allow_weak=allow_weak
        )

    def check(self) -> Iterator[Problem]:
        """Inspect everything: the store's own structures, then what the records say."""
        return check_registry(self.store)
