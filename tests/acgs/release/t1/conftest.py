"""A made collection on which some queries need sense rather than words, and one small run of all parts over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from acgs.retrieval.corpus import Collection
from tests.acgs.retrieval.corpora import SAME_SENSE, made_documents, write_static_encoder

if TYPE_CHECKING:
    from acgs.release.t1.package import Findings
    from acgs.release.t1.plan import T1Plan

QUERIES = 90


def made_collection(seed: int = 0) -> Collection:
    """Each query holds words of one document; half of them say some word otherwise."""
    documents = made_documents(150, seed)
    rng = np.random.default_rng(seed)
    otherwise = {word: other for other, word in SAME_SENSE.items()}
    queries, judgements = {}, {}
    for number in range(QUERIES):
        target = documents[number]
        words = list(rng.permutation(target.text.split())[:4])
        if number % 2:
            words = [otherwise.get(word, word) for word in words]
        queries[f"q{number:02d}"] = " ".join(["the", *words])
        judgements[f"q{number:02d}"] = {target.id: 2, documents[(number + 7) % 150].id: 1}
    return Collection(tuple(documents), queries, judgements)


@dataclass(frozen=True, slots=True)
class Run:
    """A run with where it wrote."""

    found: Findings
    output: Path


def small_plan() -> T1Plan:
    """Few folds and grids."""
    from acgs.release.t1.plan import T1Plan
    from acgs.retrieval.index import Bm25Options

    return T1Plan(
        folds=3,
        inner_folds=3,
        cross_fits=180,
        divisions=2,
        bm25=(Bm25Options(), Bm25Options(k1=0.9, b=0.4)),
        taus=(0.0, 0.3, 0.6),
        shrinkages=(0.01, 1.0),
        depths=(10, 20),
        topk=40,
        requests=400,
    )


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from acgs.release.t1.package import find
    from acgs.release.t1.writing import write_package
    from acgs.retrieval.encoders import StaticEncoder

    output = tmp_path_factory.mktemp("t1")
    encoder = StaticEncoder(write_static_encoder(tmp_path_factory.mktemp("encoder")))
    found = find(made_collection(), encoder, small_plan(), output, clock=lambda: datetime(2026, 9, 1, tzinfo=UTC))
    write_package(found, output)
    return Run(found, output)
