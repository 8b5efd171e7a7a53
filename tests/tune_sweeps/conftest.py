"""A judged corpus of made documents for the sweeps over retrieval, and one Ray cluster that they share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from acgs.retrieval.corpus import Collection, write_collection
from tests.acgs.retrieval.corpora import SAME_SENSE, WORDS, made_documents, write_static_encoder

DOCUMENTS, QUERIES = 120, 96
CLUSTER = "import ray; from acgs.cli.connection import connect; connect(ray); print('up', flush=True); input()"


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static embeddings, which need no torch."""
    return write_static_encoder(tmp_path_factory.mktemp("encoders") / "static")


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, and queries of a few of a document's words, some of which only the encoder knows."""
    folder = tmp_path_factory.mktemp("corpora") / "made"
    write_collection(made_collection(QUERIES), folder)
    return folder


def made_collection(queries: int) -> Collection:
    """Judged queries over the same documents."""
    documents, rng = made_documents(DOCUMENTS), np.random.default_rng(3)
    other = {word: name for name, word in SAME_SENSE.items()}
    texts, judgements = {}, {}
    for number in range(queries):
        target = documents[number % DOCUMENTS]
        words = rng.choice(target.text.split(), 4)
        texts[f"q{number}"] = " ".join(other.get(word, word) for word in words)
        held = {item.id: len(set(words) & set(item.text.split())) for item in documents}
        judgements[f"q{number}"] = {name: 1 for name, count in held.items() if count == len(set(words))}
        judgements[f"q{number}"][target.id] = 2
    assert set(" ".join(texts.values()).split()) <= {*WORDS, *SAME_SENSE}
    return Collection(documents, texts, judgements)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A cluster that outlives the jobs which are killed in it."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    script = CLUSTER.replace("print('up'", "import os; print(os.environ['RAY_ADDRESS']")
    job = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert job.stdin is not None and job.stdout is not None
    address = job.stdout.readline().strip()
    yield address
    job.stdin.close()
    job.wait(timeout=60)
