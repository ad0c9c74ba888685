"""Merkle tree: one hash for a list, short proofs that an item is in it, or that it only grew.

A leaf is SHA256(0x00 | data), a node SHA256(0x01 | left | right); the left side of a node holds the
largest power of two of leaves that leaves something for the right.

Source: RFC 9162, sections 2.1.1 to 2.1.4 (RFC 6962 has the same tree).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from armillary.core.errors import ConfigError


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one item."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; of none it is the hash of nothing.

    Args:
        leaves: from ``leaf_hash``, in order.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    return _root(leaves, 0, len(leaves))


@dataclass
class Frontier:
    """The root of a growing tree, in memory of the logarithm of its leaves.

    Attributes:
        count: leaves so far.
    """

    count: int = 0
    _peaks: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, leaf: bytes) -> None:
        """Append a leaf, from ``leaf_hash``."""
        size, node = 1, leaf
        while self._peaks and self._peaks[-1][0] == size:
            size, node = 2 * size, node_hash(self._peaks.pop()[1], node)
        self._peaks.append((size, node))
        self.count += 1

    def root(self) -> bytes:
        """Return the root of the leaves so far."""
        if not self._peaks:
            return tree_root(())
        root = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            root = node_hash(left, root)
        return root

    def described(self) -> dict[str, Any]:
        """Return root, hexadecimal, and number of leaves."""
        return {"root": self.root().hex(), "leaves": self.count}


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the proof that leaf ``index`` is in the tree, nearest sibling first.

    Raises:
        ConfigError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise ConfigError(f"There is no leaf {index} in a tree of {len(leaves)}.")
    low, high, proof = 0, len(leaves), []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_root(leaves, middle, high))
            high = middle
        else:
            proof.append(_root(leaves, low, middle))
            low = middle
    return tuple(reversed(proof))


def consistency_proof(old_size: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the proof that the tree of the first ``old_size`` leaves only grew.

    Raises:
        ConfigError: ``old_size`` is not 1 to the number of leaves.
    """
    if not 1 <= old_size <= len(leaves):
        raise ConfigError(f"A tree of {len(leaves)} leaves did not grow from one of {old_size}.")
    low, high, whole, proof = 0, len(leaves), True, []
    while old_size != high:
        middle = low + _split(high - low)
        if old_size <= middle:
            proof.append(_root(leaves, middle, high))
            high = middle
        else:
            proof.append(_root(leaves, low, middle))
            low, whole = middle, False
    if not whole:
        proof.append(_root(leaves, low, high))
    return tuple(reversed(proof))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Tell whether a leaf hash is number ``index`` of the ``size`` under a root.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the tree under ``root`` begins with the one under ``old_root``.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 1 <= old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and (before, after) == (old_root, root)


def _root(leaves: Sequence[bytes], low: int, high: int) -> bytes:
    if high - low == 1:
        return leaves[low]
    middle = low + _split(high - low)
    return node_hash(_root(leaves, low, middle), _root(leaves, middle, high))


def _split(count: int) -> int:
    """Return the largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1
