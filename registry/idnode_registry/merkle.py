"""The Merkle tree hash of RFC 6962 §2.1: appending, roots, inclusion and consistency proofs, and their verification.

::

        root(7)                 Frontier(7).peaks = (k, i, g)     7 = 0b111
       /       \\                 k covers leaves 0-3, i covers 4-5, g is leaf 6
      k         l
     / \\       / \\              append(leaf 7): g+leaf -> j', i+j' -> l', k+l' -> one peak: as many joins
    g   h     i   j             as the size has trailing one bits, so one on average.
   ab   cd    ef  g

A leaf hash is SHA-256(0x00 || entry), an inner node SHA-256(0x01 || left || right): the two can never be confused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from idnode_registry.errors import ProofRefused

HASH_OCTETS = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves (RFC 6962 §2.1)."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one log entry, 32 octets."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """:func:`leaf_hash` of each."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, 32 octets."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that must be kept to append: the roots of the perfect subtrees, largest first, one per one bit of size."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves has {self.size.bit_count()} peaks, not {len(self.peaks)}")

    def append(self, leaf: bytes) -> Frontier:
        """The frontier with one more leaf hash; amortised one hash."""
        peaks = list(self.peaks)
        size = self.size
        while size & 1:
            leaf = node_hash(peaks.pop(), leaf)
            size >>= 1
        peaks.append(leaf)
        return Frontier(self.size + 1, tuple(peaks))

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far, 32 octets."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


NO_LEAVES = Frontier()


def frontier(leaves: Sequence[bytes]) -> Frontier:
    """The frontier over ``leaves`` (leaf hashes), level by level: what is left over on a level is its peak."""
    peaks: list[bytes] = []
    level = list(leaves)
    while level:
        if len(level) & 1:
            peaks.append(level.pop())
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=True)]
    return Frontier(len(leaves), tuple(reversed(peaks)))


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of ``leaves`` (leaf hashes)."""
    return frontier(leaves).root()


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (size >= 2): where RFC 6962 §2.1 divides a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf ``index`` (from 0), nearest sibling first (RFC 6962 §2.1.1)."""
    if not 0 <= index < len(leaves):
        raise ProofRefused(f"leaf {index} does not exist in a tree of {len(leaves)} leaves")
    path: list[bytes] = []
    low, high = 0, len(leaves)
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root(leaves[middle:high]))
            high = middle
        else:
            path.append(root(leaves[low:middle]))
            low = middle
    path.reverse()
    return path


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the first ``old_size`` leaves are a prefix of all ``leaves`` (RFC 6962 §2.1.2)."""
    if not 0 < old_size <= len(leaves):
        raise ProofRefused(f"no consistency proof from {old_size} to {len(leaves)} leaves")
    proof: list[bytes] = []
    low, high, known = 0, len(leaves), True
    while old_size != high:
        middle = low + _split(high - low)
        if old_size <= middle:
            proof.append(root(leaves[middle:high]))
            high = middle
        else:
            proof.append(root(leaves[low:middle]))
            low, known = middle, False
    if not known:
        proof.append(root(leaves[low:high]))
    proof.reverse()
    return proof


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether ``path`` shows leaf hash ``leaf`` at ``index`` in the tree of ``size`` leaves with that root."""
    if not 0 <= index < size:
        return False
    node, last, computed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and computed == expected_root


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of ``new_size`` leaves extends the one of ``old_size`` (both > 0)."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    rest = list(proof)
    if old_size & (old_size - 1):
        if not rest:
            return False
        seed = rest.pop(0)
    else:
        seed = old_root
    old = new = seed
    for sibling in rest:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root
