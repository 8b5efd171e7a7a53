"""A made corpus with judged queries, of which some ask in words that only the encoder knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acgs.retrieval.corpus import Collection, write_collection
from tests.acgs.retrieval.corpora import SAME_SENSE, made_documents, write_static_encoder

DOCUMENTS, QUERIES = 120, 170


def judged_collection(queries: int = QUERIES) -> Collection:
    """Each query is four words of a document; documents that hold all four are relevant, that one the most."""
    documents, rng = made_documents(DOCUMENTS), np.random.default_rng(3)
    other = {word: name for name, word in SAME_SENSE.items()}
    texts, judgements = {}, {}
    for number in range(queries):
        target = documents[number % DOCUMENTS]
        words = set(rng.choice(target.text.split(), 4).tolist())
        texts[f"q{number}"] = " ".join(other.get(word, word) for word in sorted(words))
        held = [item.id for item in documents if words <= set(item.text.split())]
        judgements[f"q{number}"] = dict.fromkeys(held, 1) | {target.id: 2}
    return Collection(documents, texts, judgements)


def write_judged_corpus(folder: Path, queries: int = QUERIES) -> Path:
    """Write `corpus` and `encoder` to a folder; returns it."""
    write_collection(judged_collection(queries), folder / "corpus")
    write_static_encoder(folder / "encoder")
    return folder
