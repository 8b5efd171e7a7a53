"""The Merkle tree of RFC 6962 with SHA-256: hashing, proofs, and their verification as in RFC 9162 section 2.1.

Pure functions. A tree is known to the proof builders through a `NodeSource`, which gives the hash of any perfect
subtree: `node(level, index)` covers the leaves `index * 2**level` up to `(index + 1) * 2**level`. So a proof costs
O(log^2 n) look-ups whatever the storage, and never the hashing of all leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from acgs.errors import IntegrityError, InvalidInputError

NodeSource = Callable[[int, int], bytes]

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf, `SHA-256(0x00 || entry)`."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, `SHA-256(0x01 || left || right)`."""
    return sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over `hashes`, whose number is a power of two."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


class CompactRange:
    """The right edge of a growing tree: the roots of its perfect subtrees, largest first. Appending is O(log n)."""

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)

    @classmethod
    def of_tree(cls, size: int, node: NodeSource) -> CompactRange:
        """Return the range of the stored tree of `size` leaves."""
        return cls(size, _perfect_subtrees(0, size, node))

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        merges = self.size
        while merges & 1:
            leaf = node_hash(self._roots.pop(), leaf)
            merges >>= 1
        self._roots.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree so far."""
        return _fold(self._roots)


def subtree_root(start: int, end: int, node: NodeSource) -> bytes:
    """Return the hash of the leaves from `start` up to `end`, a range that occurs as a subtree in RFC 6962."""
    return _fold(_perfect_subtrees(start, end, node))


def inclusion_proof(index: int, size: int, node: NodeSource) -> list[bytes]:
    """Return PATH(index, D[size]) of RFC 6962 section 2.1.1, from the leaf upwards.

    Raises `InvalidInputError` if the tree of `size` leaves has no leaf `index`.
    """
    if not 0 <= index < size:
        raise InvalidInputError(f"the log of {size} entries has no entry {index}; give an index below its size")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(subtree_root(split, end, node))
            end = split
        else:
            path.append(subtree_root(start, split, node))
            start = split
    return path[::-1]


def consistency_proof(old_size: int, new_size: int, node: NodeSource) -> list[bytes]:
    """Return PROOF(old_size, D[new_size]) of RFC 6962 section 2.1.2; empty for an empty or an equal old tree.

    Raises `InvalidInputError` if the old tree is the larger one.
    """
    if not 0 <= old_size <= new_size:
        raise InvalidInputError(f"a log of {new_size} entries cannot have grown from one of {old_size}")
    path: list[bytes] = []
    if old_size in (0, new_size):
        return path
    start, end = 0, new_size
    while old_size != end:
        split = start + _split(end - start)
        if old_size <= split:
            path.append(subtree_root(split, end, node))
            end = split
        else:
            path.append(subtree_root(start, split, node))
            start = split
    # The verifier knows the old root; any other subtree that ends the walk must be given.
    if start > 0:
        path.append(subtree_root(start, end, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (a leaf hash) stands at `index` in the tree of `size` leaves with `root`.

    RFC 9162 section 2.1.3.2. Raises `IntegrityError` if the proof does not show it.
    """
    if not 0 <= index < size:
        raise IntegrityError(f"the proof names entry {index} of a log of {size} entries: reject it")
    position, last = index, size - 1
    digest = leaf
    for sibling in proof:
        if last == 0:
            raise IntegrityError("the inclusion proof is longer than the tree is high: reject it")
        if position & 1 or position == last:
            digest = node_hash(sibling, digest)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, sibling)
        position >>= 1
        last >>= 1
    if last != 0 or digest != root:
        raise IntegrityError("the inclusion proof does not lead to the checkpoint's root: the entry is not proven")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree with `new_root` extends the tree with `old_root`.

    RFC 9162 section 2.1.4.2, with the empty old tree as a prefix of every tree. Raises `IntegrityError` if the proof
    does not show it.
    """
    if old_size > new_size:
        raise IntegrityError(f"the log shrank from {old_size} to {new_size} entries: records were removed")
    if old_size in (0, new_size):
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected:
            raise IntegrityError("the two checkpoints contradict each other: the log was rewritten")
        return
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    roots = _roots_from_consistency_path(old_size - 1, new_size - 1, path)
    if roots != (old_root, new_root):
        raise IntegrityError("the consistency proof does not lead to both roots: the log was rewritten")


def _roots_from_consistency_path(position: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Return the old and the new root that the path leads to, or None if its length does not fit the sizes."""
    if not path:
        return None
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        position >>= 1
        last >>= 1
    return (old, new) if last == 0 else None


def _split(size: int) -> int:
    """Return the largest power of two below `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _perfect_subtrees(start: int, end: int, node: NodeSource) -> list[bytes]:
    """Return the hashes of the perfect subtrees that make up a range, from left to right, largest first."""
    hashes: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(node(level, start >> level))
        start += 1 << level
    return hashes


def _fold(roots: Sequence[bytes]) -> bytes:
    if not roots:
        return EMPTY_ROOT
    digest = roots[-1]
    for root in reversed(roots[:-1]):
        digest = node_hash(root, digest)
    return digest
