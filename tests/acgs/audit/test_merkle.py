"""The tree against the published vectors of the certificate-transparency reference, and against another library."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from acgs.errors import AcgsError, IntegrityError, InvalidInputError

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (index, size) -> path, from the same reference.
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def root_of(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word: the oracle."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(root_of(leaves[:split]), root_of(leaves[split:]))


def node_source(leaves: list[bytes]):
    return lambda level, index: root_of(leaves[index << level : (index + 1) << level])


def numbered(size: int) -> list[bytes]:
    return [str(number).encode() for number in range(size)]


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots_are_reproduced(size: int) -> None:
    tree = CompactRange()
    for leaf in LEAVES[:size]:
        tree.append(leaf_hash(leaf))
    assert tree.root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_the_published_inclusion_proofs_are_reproduced(index: int, size: int) -> None:
    proof = inclusion_proof(index, size, node_source(LEAVES))
    assert [digest.hex() for digest in proof] == INCLUSION[index, size]
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_the_published_consistency_proofs_are_reproduced(old: int, new: int) -> None:
    proof = consistency_proof(old, new, node_source(LEAVES))
    assert [digest.hex() for digest in proof] == CONSISTENCY[old, new]
    verify_consistency(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), proof)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_every_entry_is_proven_and_any_flipped_bit_refuted(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    leaves = numbered(size)
    root, leaf = root_of(leaves), leaf_hash(leaves[index])
    proof = inclusion_proof(index, size, node_source(leaves))
    verify_inclusion(leaf, index, size, proof, root)

    parts = [leaf, root, *proof]
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[part] = flipped(parts[part], bit)
    with pytest.raises(IntegrityError):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])
    other = data.draw(st.integers(0, size).filter(lambda number: number != index))
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf, other, size, proof, root)
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf, index, size, [*proof, root], root)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_growth_is_proven_and_any_flipped_bit_refuted(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 70))
    old = data.draw(st.integers(0, new))
    leaves = numbered(new)
    old_root, new_root = root_of(leaves[:old]), root_of(leaves)
    proof = consistency_proof(old, new, node_source(leaves))
    verify_consistency(old, old_root, new, new_root, proof)

    # From an empty log anything may grow: the new root is then free.
    parts = [old_root, *proof] + ([new_root] if old else [])
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[part] = flipped(parts[part], bit)
    with pytest.raises(IntegrityError):
        verify_consistency(old, parts[0], new, parts[-1] if old else new_root, parts[1 : 1 + len(proof)])
    with pytest.raises(IntegrityError):
        verify_consistency(old, old_root, new, new_root, [*proof, new_root])


def test_a_rewritten_history_has_no_consistency_proof() -> None:
    honest, forged = numbered(13), [b"forged", *numbered(20)[1:]]
    proof = consistency_proof(13, 20, node_source(forged))
    with pytest.raises(IntegrityError):
        verify_consistency(13, root_of(honest), 20, root_of(forged), proof)
    with pytest.raises(IntegrityError):
        verify_consistency(13, root_of(honest), 12, root_of(honest[:12]), [])


def test_a_proof_for_an_entry_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        inclusion_proof(3, 3, node_source(numbered(3)))
    with pytest.raises(AcgsError):
        consistency_proof(4, 3, node_source(numbered(3)))


@pytest.mark.skipif(importlib.util.find_spec("pymerkle") is None, reason="pymerkle is not installed")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 100])
def test_roots_agree_with_an_independent_library(size: int) -> None:
    from pymerkle import InmemoryTree

    tree, theirs = CompactRange(), InmemoryTree(algorithm="sha256")
    for leaf in numbered(size):
        tree.append(leaf_hash(leaf))
        theirs.append_entry(leaf)
    assert tree.root() == theirs.get_root()


def flipped(digest: bytes, bit: int) -> bytes:
    changed = bytearray(digest)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)
