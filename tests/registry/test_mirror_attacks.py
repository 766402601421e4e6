"""What is done to update feeds is refused: rollback, freeze, mix-and-match, endless data, fast-forward, key compromise.

The attacker stands where the primary's octets pass, knows every stream ever sent, and in some attacks holds a key that
the mirror does not trust (any more). Nothing he makes is taken: the mirror's digest and positions stay as they were,
and the true primary's next answer is taken as ever. 100 of each in ``make test``, 10,000 in ``make prove``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import pytest

from idnode_protocol.errors import RemoteError
from idnode_protocol.replication import Entry, Head, Manifest, Queue, QueueEnd, Record, Withheld
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.errors import REFUSALS, FeedRefused
from idnode_registry.journal import encode, parse
from idnode_registry.merkle import Frontier, leaf_hash
from idnode_registry.replication.manifest import FeedManifest
from tests.campaigns.results import Result
from tests.registry.replicas import ENTRIES, KEY, Mirror, mirror_of, primary, put, scribble, signature

RUNS: Final = {"test": 100, "fuzz": 1_000, "prove": 10_000}
Stream = list[Head | Record]
Attack = Callable[["Scene", Stream], Stream]


class Scene:
    """A mirror that follows its primary, and what the attacker recorded on the way."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.source = primary(MemoryStore("fold-all"), after_images=dice.random() < 0.5)
        self.mirror = mirror_of(self.source, MemoryStore("fold-all"))
        self.mirror.dice = random.Random(dice.random())
        self.recorded: list[Stream] = []
        for _ in range(3):
            scribble(self.source, dice, 12)
            put(self.source, b"99.900/always", str(dice.random()).encode())
            put(self.source, b"99.901/always", str(dice.random()).encode())
            self.mirror.tamper = self._record
            self.mirror.follow()
        self.news()

    def news(self) -> None:
        """Something that the mirror does not have yet, in two queues."""
        for prefix in (b"99.900", b"99.901"):
            for name in (b"/always", b"/sometimes"):
                put(self.source, prefix + name, str(self.dice.random()).encode())

    def _record(self, records: Iterator[Head | Record]) -> Iterator[Head | Record]:
        stream = list(records)
        self.recorded.append(stream)
        return iter(stream)

    def attacked(self, attack: Attack) -> str:
        """What the mirror says of the attack; "" when it took the stream."""

        def tamper(records: Iterator[Head | Record]) -> Iterator[Head | Record]:
            return iter(attack(self, list(records)))

        self.mirror.tamper = tamper
        try:
            self.mirror.pull()
        except FeedRefused as refused:
            return refused.kind
        except RemoteError:
            return "malformed"
        return ""

    def entries(self, stream: Stream) -> list[int]:
        return [at for at, record in enumerate(stream) if isinstance(record, Entry)]


def manifest_in(stream: Stream) -> tuple[int, FeedManifest]:
    at = next(at for at, record in enumerate(stream) if isinstance(record, Manifest))
    record = stream[at]
    assert isinstance(record, Manifest)
    return at, FeedManifest.from_octets(record.octets)


def with_manifest(stream: Stream, manifest: FeedManifest) -> Stream:
    at, _ = manifest_in(stream)
    return [*stream[:at], Manifest(manifest.to_octets()), *stream[at + 1 :]]


def resigned(manifest: FeedManifest, key: bytes) -> FeedManifest:
    return manifest.signed(lambda octets: signature(octets, key))


# --- the six, and some of their relatives ------------------------------------------------------------------------


def rollback_replayed(scene: Scene, stream: Stream) -> Stream:
    """An old stream, signed by the true key, instead of the new one."""
    return scene.dice.choice(scene.recorded)


def rollback_by_key(scene: Scene, stream: Stream) -> Stream:
    """Even the true key cannot take back what was vouched for: a queue ends earlier, or has another past."""
    _, manifest = manifest_in(stream)
    chosen = scene.dice.choice([key for key, tree in scene.mirror.positions.queues.items() if tree.size > 1])
    size = scene.mirror.positions.tree(chosen).size - scene.dice.choice((0, 1))
    shorter = Frontier(size, tuple(scene.dice.randbytes(32) for _ in range(size.bit_count())))
    queues = [replace(queue, tree=shorter) if queue.key == chosen else queue for queue in manifest.queues]
    return with_manifest(stream, resigned(replace(manifest, queues=tuple(queues)), KEY))


def rollback_queue_gone(scene: Scene, stream: Stream) -> Stream:
    """A queue the mirror knows is left out of a truly signed manifest."""
    _, manifest = manifest_in(stream)
    known = [queue for queue in manifest.queues if scene.mirror.positions.tree(queue.key).size]
    gone = scene.dice.choice(known)
    kept = tuple(queue for queue in manifest.queues if queue is not gone)
    return with_manifest(stream, resigned(replace(manifest, queues=kept), KEY))


def freeze(scene: Scene, stream: Stream) -> Stream:
    """The newest manifest the mirror has seen, again and again: nothing new, signed by the true key."""
    at, _ = manifest_in(stream)
    old_at, _ = manifest_in(scene.recorded[-1])
    return [*stream[:at], scene.recorded[-1][old_at], stream[-1]]


def freeze_by_silence(scene: Scene, stream: Stream) -> Stream:
    """The true manifest, but the queues it announces do not come."""
    at, _ = manifest_in(stream)
    return [*stream[: at + 1], stream[-1]]


def mix_and_match(scene: Scene, stream: Stream) -> Stream:
    """Some queues as they are now, others as they were, each once truly signed, under the new manifest's signature."""
    _, manifest = manifest_in(stream)
    _, old = manifest_in(scene.recorded[0])
    was = {queue.key: queue for queue in old.queues}
    chosen = scene.dice.choice([queue.key for queue in manifest.queues if was.get(queue.key, queue) != queue])
    mixed = tuple(was[queue.key] if queue.key == chosen else queue for queue in manifest.queues)
    return with_manifest(stream, replace(manifest, queues=mixed))


def mixed_entries(scene: Scene, stream: Stream) -> Stream:
    """The true manifest, and in a queue entries of another moment."""
    old = [record for record in scene.recorded[0] if isinstance(record, Entry)]
    at = scene.dice.choice(scene.entries(stream))
    return [*stream[:at], scene.dice.choice(old), *stream[at + 1 :]]


def swapped_records(scene: Scene, stream: Stream) -> Stream:
    """Two truly signed entries change places."""
    entries = scene.entries(stream)
    one, other = scene.dice.sample(entries, 2)
    changed = list(stream)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def endless_entries(scene: Scene, stream: Stream) -> Stream:
    """A queue that does not end."""
    at = scene.dice.choice(scene.entries(stream))
    return [*stream[: at + 1], *[stream[at]] * scene.dice.randrange(1, 2_000), *stream[at + 1 :]]


def endless_queues(scene: Scene, stream: Stream) -> Stream:
    """Queues nobody announced."""
    queue = Queue(f"{scene.dice.randrange(99)}:99.{scene.dice.randrange(1_000, 9_000)}")
    return [*stream[:-1], queue, QueueEnd(0), stream[-1]]


def fast_forward(scene: Scene, stream: Stream) -> Stream:
    """A stolen key announces a number so high that the true primary would never reach it; nothing is kept of it."""
    _, manifest = manifest_in(stream)
    size = scene.dice.choice((2**62, 2**31, ENTRIES + 10_000))
    far = tuple(replace(queue, tree=Frontier(size, (b"f" * 32,) * size.bit_count())) for queue in manifest.queues)
    return with_manifest(stream, resigned(replace(manifest, queues=far), KEY))


def fast_forward_within(scene: Scene, stream: Stream) -> Stream:
    """A little ahead only, with entries of its own making to fill the gap: their tree is not the one signed."""
    at = scene.dice.choice(scene.entries(stream))
    record = stream[at]
    assert isinstance(record, Entry)
    entry = parse(record.octets)
    forged = encode(replace(entry, time_us=entry.time_us + 1))
    return [*stream[:at], Entry(forged, record.state), *stream[at + 1 :]]


def other_key(scene: Scene, stream: Stream) -> Stream:
    """The attacker's own key, or one that was taken off the list, signs whatever he likes, fresh nonce and all."""
    _, manifest = manifest_in(stream)
    return with_manifest(stream, resigned(manifest, scene.dice.randbytes(16)))


def no_signature(scene: Scene, stream: Stream) -> Stream:
    """No signature at all, or half of one."""
    _, manifest = manifest_in(stream)
    return with_manifest(stream, replace(manifest, signature=manifest.signature[: scene.dice.randrange(32)]))


def other_record(scene: Scene, stream: Stream) -> Stream:
    """True entries, with the record of one changed."""
    states = [at for at in scene.entries(stream) if getattr(stream[at], "state", None)]
    if not states:  # after-images stand inside the entries
        return fast_forward_within(scene, stream)
    at = scene.dice.choice(states)
    record = stream[at]
    assert isinstance(record, Entry)
    assert record.state is not None
    place = scene.dice.randrange(len(record.state))
    state = (
        record.state[:place] + bytes([record.state[place] ^ 1 << scene.dice.randrange(8)]) + record.state[place + 1 :]
    )
    return [*stream[:at], Entry(record.octets, state), *stream[at + 1 :]]


def withheld_entry(scene: Scene, stream: Stream) -> Stream:
    """An entry left out, or its end cut off."""
    at = scene.dice.choice(scene.entries(stream))
    return [*stream[:at], *stream[at + 1 :]]


def hidden_leaf(scene: Scene, stream: Stream) -> Stream:
    """Instead of an entry its leaf hash, as for another server of the receiver's site: nothing would be missing."""
    at = scene.dice.choice(scene.entries(stream))
    record = stream[at]
    assert isinstance(record, Entry)
    return [*stream[:at], Withheld(leaf_hash(record.octets)), *stream[at + 1 :]]


ATTACKS: Final[dict[str, tuple[Attack, ...]]] = {
    "rollback": (rollback_replayed, rollback_by_key, rollback_queue_gone),
    "freeze": (freeze, freeze_by_silence),
    "mix-and-match": (mix_and_match, mixed_entries, swapped_records),
    "endless data": (endless_entries, endless_queues),
    "fast-forward": (fast_forward, fast_forward_within),
    "key compromise": (other_key, no_signature, other_record, withheld_entry, hidden_leaf),
}


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("family", ATTACKS)
def test_attacks_are_refused(family: str, seed: int, campaign: str, result: Result) -> None:
    """Every attack is refused with a reason, changes nothing, and the truth is taken afterwards."""
    dice = random.Random(f"{family}{seed}")
    done, reasons = 0, set[str]()
    while done < RUNS[campaign]:
        scene = Scene(dice)
        for attack in ATTACKS[family]:
            for _ in range(10):
                scene.news()
                before = scene.mirror.digest(), dict(scene.mirror.positions.queues)
                reason = scene.attacked(attack)
                assert reason in REFUSALS, f"{attack.__name__} was {reason or 'accepted'}"
                reasons.add(f"{attack.__name__}: {reason}")
                done += 1
                after = scene.mirror.digest(), dict(scene.mirror.positions.queues)
                assert after == before or _only_true_queues(scene, after[1]), attack.__name__
        scene.mirror.tamper = iter
        scene.mirror.follow()
        assert scene.mirror.digest() == scene.mirror.wanted_digest()
    result.write(f"mirror-attacks-{family.replace(' ', '-')}", attacks=done, accepted=0, reasons=sorted(reasons))
    print(f"{family}: {done} attacks, 0 accepted; {', '.join(sorted(reasons))}")


def _only_true_queues(scene: Scene, positions: dict[tuple[bytes, int], Frontier]) -> bool:
    """Queues before the one that was tampered with were proven and may be taken: they are the primary's own past."""
    return all(
        tree == scene.source.frontiers.at(prefix, bucket, tree.size) for (prefix, bucket), tree in positions.items()
    )


def test_without_the_check_of_the_nonce_freezing_works(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the guard that is switched off lets the attack through, so the test above can fail."""
    scene = Scene(random.Random(seed))
    last, _ = manifest_in(scene.recorded[-1])
    record = scene.recorded[-1][last]
    assert isinstance(record, Manifest)
    nonce = FeedManifest.from_octets(record.octets).nonce
    monkeypatch.setattr(scene.mirror.dice, "randbytes", lambda size: nonce)
    assert scene.attacked(freeze) == ""


def test_a_new_mirror_refuses_attacks_too(seed: int) -> None:
    """It has nothing to compare with but the key and the nonce."""
    scene = Scene(random.Random(seed))
    scene.mirror = Mirror(mirror_of(scene.source, MemoryStore("fold-all")).registry, scene.source)
    for attack in (rollback_replayed, other_key, freeze, endless_entries, fast_forward, withheld_entry):
        assert scene.attacked(attack) in REFUSALS, attack.__name__
    scene.mirror.tamper = iter
    scene.mirror.follow()
    assert scene.mirror.digest() == scene.mirror.wanted_digest()
