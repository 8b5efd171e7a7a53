"""What the guard learns from: the public safety sets the user names, and phrases generated from the lexicon."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acgs.governance.features import head_names
from acgs.governance.scenarios.deduplicate import fold_of, without_near_duplicates
from acgs.governance.scenarios.example import TextExample
from acgs.governance.scenarios.language import phrase
from acgs.governance.scenarios.public_sets import load_public

DEFAULT_SETS = ("openai_moderation", "surge_toxicity", "hatecheck", "advbench", "harmbench", "catqa_harmfulqa")
"""`bipia` is left out by default: a harmless question planted in an email cannot be told from the email's own text."""

_SET_WEIGHTS = {"openai_moderation": 3.0, "harmbench": 2.0}
"""Small sets of rare kinds count more."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Labelled texts. `labels[i, k]` is 1 where text i breaches head k's principle; the last head is `overall`."""

    texts: list[str]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    folds: NDArray[np.int64]
    groups: NDArray[np.int64]
    sources: list[str]

    @property
    def violates(self) -> NDArray[np.bool_]:
        """The overall label."""
        return self.labels[:, -1] > 0.5

    @property
    def digest(self) -> str:
        """Short digest of texts, labels and folds, so that a changed corpus never meets stages of another."""
        content = hashlib.sha256("\0".join(self.texts).encode())
        content.update(self.labels.tobytes() + self.folds.tobytes())
        return content.hexdigest()[:16]


def assemble(
    folder: Path, sets: Sequence[str], *, core_principles: Sequence[str], phrases: int, folds: int, seed: int
) -> Corpus:
    """Load, generate, drop near-duplicates, and assign folds by group.

    Raises:
        InvalidInputError: a named set is absent or malformed. There is no silent replacement by generated text.
    """
    tagged: list[tuple[str, TextExample]] = []
    for name in sets:
        tagged += [(name, example) for example in load_public(folder, name)]
    rng = random.Random(seed)  # noqa: S311 - reproducible data, not secrets
    said = {drawn.text: drawn for drawn in (phrase(rng) for _ in range(phrases))}
    tagged += [("lexicon", TextExample(p.text, p.breaches, f"lexicon/{p.group}")) for p in said.values()]
    origin = {id(example): name for name, example in tagged}
    public = without_near_duplicates([example for name, example in tagged if name != "lexicon"])
    examples = public + [example for name, example in tagged if name == "lexicon"]
    heads = head_names(core_principles)
    labels = np.zeros((len(examples), len(heads)), dtype=np.float32)
    for row, example in enumerate(examples):
        for principle in example.breaches:
            labels[row, heads.index(principle)] = 1
        labels[row, -1] = float(example.violates)
    sources = [origin[id(example)] for example in examples]
    _, groups = np.unique([example.group for example in examples], return_inverse=True)
    return Corpus(
        texts=[example.text for example in examples],
        labels=labels,
        weights=np.array([_SET_WEIGHTS.get(source, 1.0) for source in sources], dtype=np.float32),
        folds=np.array([fold_of(example.group, folds) for example in examples]),
        groups=groups,
        sources=sources,
    )
