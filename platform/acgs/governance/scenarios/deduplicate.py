"""Near-duplicate removal and splits that keep groups whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH

from acgs.governance.scenarios.example import TextExample

_PERMUTATIONS = 64
_SHINGLE = 3
_WORD = re.compile(r"\w+")


def _shingles(text: str) -> list[bytes]:
    words = _WORD.findall(text.lower())
    if len(words) < _SHINGLE:
        return [" ".join(words).encode()]
    return [" ".join(words[i : i + _SHINGLE]).encode() for i in range(len(words) - _SHINGLE + 1)]


def without_near_duplicates(examples: Sequence[TextExample], *, similarity: float = 0.8) -> list[TextExample]:
    """Drop every example whose word 3-shingles overlap an earlier one's by an estimated Jaccard >= `similarity`.

    MinHash with locality-sensitive hashing (Broder 1997); two texts with different labels are both kept, because
    near-misses differ in one word on purpose.
    """
    index = MinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS)
    labels: list[bool] = []
    kept: list[TextExample] = []
    for example in examples:
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch(_shingles(example.text))
        if any(labels[number] == example.violates for number in index.query(sketch)):
            continue
        index.insert(len(kept), sketch)
        labels.append(example.violates)
        kept.append(example)
    return kept


def fold_of(group: str, folds: int) -> int:
    """The fold a group belongs to, the same in every run and on every machine."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) % folds
