"""The Merkle tree: published vectors, and a brute-force twin that follows the definitions."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.proof.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# Reference inputs and roots of RFC 6962 implementations (google/certificate-transparency).
INPUTS = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]


def many(count: int) -> list[bytes]:
    return [leaf_hash(bytes([i % 256, i // 256])) for i in range(count)]


def brute_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, as it is written."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(2**i for i in range(20) if 2**i < len(leaves))
    return node_hash(brute_root(leaves[:k]), brute_root(leaves[k:]))


def brute_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = max(2**i for i in range(20) if 2**i < len(leaves))
    if m < k:
        return [*brute_path(m, leaves[:k]), brute_root(leaves[k:])]
    return [*brute_path(m - k, leaves[k:]), brute_root(leaves[:k])]


def brute_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [brute_root(leaves)]
    k = max(2**i for i in range(20) if 2**i < len(leaves))
    if m <= k:
        return [*brute_subproof(m, leaves[:k], whole), brute_root(leaves[k:])]
    return [*brute_subproof(m - k, leaves[k:], False), brute_root(leaves[:k])]


def test_published_roots() -> None:
    assert [tree_root(LEAVES[:n]).hex() for n in range(1, 9)] == list(ROOTS)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree_root([]).hex() == empty


def test_a_growing_tree_has_all_roots_of_the_definition_in_logarithmic_memory() -> None:
    tree, leaves = Frontier(), many(70)
    assert tree.root() == brute_root([])
    for count, leaf in enumerate(leaves, start=1):
        tree.add(leaf)
        assert tree.root() == brute_root(leaves[:count]) and tree.count == count
        assert len(tree._peaks) <= count.bit_length()
    assert tree.described() == {"root": brute_root(leaves).hex(), "leaves": 70}


def test_published_proofs() -> None:
    def hexed(proof) -> list[str]:
        return [part.hex() for part in proof]

    assert hexed(inclusion_proof(0, LEAVES)) == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert hexed(consistency_proof(6, LEAVES)) == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.integers(1, 70), st.data())
def test_proofs_are_those_of_the_definitions(size: int, data) -> None:
    leaves = many(size)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = brute_root(leaves)
    assert tree_root(leaves) == root
    inclusion = inclusion_proof(index, leaves)
    assert list(inclusion) == brute_path(index, leaves)
    assert verify_inclusion(leaves[index], index, size, inclusion, root)
    consistency = consistency_proof(old, leaves)
    assert list(consistency) == brute_subproof(old, leaves, True)
    assert verify_consistency(old, size, brute_root(leaves[:old]), root, consistency)


@given(st.integers(2, 40), st.data())
def test_anything_else_is_no_proof(size: int, data) -> None:
    leaves = many(size)
    index, root = data.draw(st.integers(0, size - 1)), tree_root(leaves)
    proof = list(inclusion_proof(index, leaves))
    other = data.draw(st.integers(-1, size).filter(lambda i: i != index))
    assert not verify_inclusion(leaves[index], other, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, proof, root)
    assert not verify_inclusion(leaves[index], index, size, [*proof, root], root)
    assert not verify_inclusion(leaves[index], index, size, proof[:-1], root)
    place = data.draw(st.integers(0, len(proof) - 1))
    proof[place] = bytes(32)
    assert not verify_inclusion(leaves[index], index, size, proof, root)


@given(st.integers(2, 40), st.data())
def test_a_rewritten_past_is_not_consistent(size: int, data) -> None:
    leaves = many(size)
    old = data.draw(st.integers(1, size - 1))
    before, after = tree_root(leaves[:old]), tree_root(leaves)
    proof = list(consistency_proof(old, leaves))
    assert not verify_consistency(old, size, bytes(32), after, proof)
    assert not verify_consistency(old, size, before, bytes(32), proof)
    assert not verify_consistency(old, size, before, after, [*proof, before])
    assert not verify_consistency(old, size, before, after, proof[:-1])
    assert not verify_consistency(size, old, after, before, proof)
    changed = [leaf_hash(b"rewritten"), *leaves[1:]]
    assert not verify_consistency(
        old, size, before, tree_root(changed), consistency_proof(old, changed)
    )


def test_what_is_not_there_cannot_be_proven() -> None:
    with pytest.raises(ConfigError, match="There is no leaf 8 in a tree of 8"):
        inclusion_proof(8, LEAVES)
    with pytest.raises(ConfigError, match="did not grow from one of 9"):
        consistency_proof(9, LEAVES)
    assert not verify_consistency(0, 8, b"", tree_root(LEAVES), [])
    assert verify_consistency(8, 8, tree_root(LEAVES), tree_root(LEAVES), [])
