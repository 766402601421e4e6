"""RFC 6962 trees: known answers of the certificate-transparency test tree, and a naive recursive oracle."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_registry import merkle
from idnode_registry.errors import ProofRefused

# The eight inputs and the roots over the first 1..8 of them that certificate-transparency implementations share.
INPUTS = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                           "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(octets) for octets in INPUTS]


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """RFC 6962 §2.1.2, word for word."""
    if m == len(leaves):
        return [] if known else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, leaves[:k], known), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


@pytest.mark.parametrize("size", range(1, 9))
def test_known_roots(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree() -> None:
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_known_inclusion_path() -> None:
    # Leaf 5 of 8 (counted from 0): sibling 4, then the pair 6-7, then the left half.
    assert merkle.inclusion_proof(LEAVES, 5) == [
        LEAVES[4],
        merkle.node_hash(LEAVES[6], LEAVES[7]),
        bytes.fromhex(ROOTS[3]),
    ]


def test_roots_proofs_and_verification_agree_with_the_rfc_for_every_small_size() -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(34)]
    for size in range(1, len(leaves) + 1):
        tree = leaves[:size]
        top = merkle.root(tree)
        assert top == naive_root(tree)
        for index in range(size):
            path = merkle.inclusion_proof(tree, index)
            assert path == naive_path(index, tree)
            assert merkle.verify_inclusion(leaves[index], index, size, path, top)
        for old in range(1, size + 1):
            proof = merkle.consistency_proof(tree, old)
            assert proof == naive_subproof(old, tree, True)
            assert merkle.verify_consistency(old, size, merkle.root(leaves[:old]), top, proof)


@given(st.integers(1, 200), st.data())
def test_a_changed_proof_is_refused(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(number.to_bytes(2, "big")) for number in range(size)]
    top = merkle.root(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(leaves, index)
    wrong_index = data.draw(st.integers(-1, size + 1).filter(lambda number: number != index))
    assert not merkle.verify_inclusion(leaves[index], wrong_index, size, path, top)
    assert not merkle.verify_inclusion(leaves[index], index, size, [*path, top], top)
    assert not merkle.verify_inclusion(top[::-1], index, size, path, top)
    old = data.draw(st.integers(1, size))
    proof, old_root = merkle.consistency_proof(leaves, old), merkle.root(leaves[:old])
    assert not merkle.verify_consistency(old, size, old_root, top, [*proof, top])
    assert not merkle.verify_consistency(old, size, old_root[::-1], top, proof)
    if proof:
        assert not merkle.verify_consistency(old, size, old_root, top, proof[1:])
        cut = data.draw(st.integers(0, len(proof) - 1))
        bent = [*proof[:cut], proof[cut][::-1], *proof[cut + 1 :]]
        assert not merkle.verify_consistency(old, size, old_root, top, bent)


def test_many_leaves_hash_as_each_does() -> None:
    assert merkle.leaf_hashes(INPUTS) == LEAVES


def test_the_frontier_keeps_one_peak_per_one_bit() -> None:
    tree = merkle.NO_LEAVES
    leaves: list[bytes] = []
    for number in range(130):
        assert len(tree.peaks) == number.bit_count()
        assert tree.root() == naive_root(leaves)
        leaves.append(merkle.leaf_hash(bytes([number])))
        tree = tree.append(leaves[-1])
        assert merkle.frontier(leaves) == tree
    with pytest.raises(ValueError, match="peaks"):
        merkle.Frontier(3, (leaves[0],))


def test_what_does_not_exist_is_not_proven() -> None:
    with pytest.raises(ProofRefused):
        merkle.inclusion_proof(LEAVES, 8)
    with pytest.raises(ProofRefused):
        merkle.consistency_proof(LEAVES, 0)
    assert not merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, bytes.fromhex(ROOTS[7]), [])
