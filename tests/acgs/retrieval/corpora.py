"""A small judged collection, a larger made one, and an encoder for both that needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acgs.retrieval.corpus import Collection, Document

WORDS = (  # noqa: SIM905 - a word a line would fill a page
    "bank loan credit interest mortgage doctor patient hospital nurse treatment court judge appeal ruling statute "
    "river flood water dam bridge neural network training gradient model supervision authority risk system notice"
).split()
SAME_SENSE = {"physician": "doctor", "clinic": "hospital", "lender": "bank", "tribunal": "court"}
"""Words that the encoder takes for others, and BM25 does not."""

TINY = Collection(
    documents=(
        Document("d1", "Loans", "The bank gives a loan with low interest"),
        Document("d2", "", "A mortgage is a loan on a house; the bank sets interest"),
        Document("d3", "Care", "The doctor sees the patient in the hospital"),
        Document("d4", "", "Nurse and doctor agree on the treatment"),
        Document("d5", "Law", "The court heard the appeal and the judge gave a ruling"),
        Document("d6", "", "The statute binds the court"),
        Document("d7", "Rivers", "The river bank broke and the flood took the bridge"),
        Document("d8", "", "A dam holds the water of the river"),
        Document("d9", "", "Training a neural network follows the gradient of the model"),
        Document("d10", "Supervision", "The authority supervises every high risk system"),
        Document("d11", "", "A notice on risk is sent to the authority"),
        Document("d12", "", ""),
    ),
    queries={
        "q1": "interest on a loan",
        "q2": "which physician treats the patient in the clinic",
        "q3": "ruling of the tribunal on the appeal",
        "q4": "river flood",
        "q5": "who supervises high risk systems",
        "q6": "asked by nobody",
    },
    judgements={
        "q1": {"d1": 2, "d2": 1},
        "q2": {"d3": 2, "d4": 1, "d1": 0},
        "q3": {"d5": 1},
        "q4": {"d7": 1, "d8": 1},
        "q5": {"d10": 1, "d11": 1},
    },
)


def made_documents(count: int, seed: int = 0) -> list[Document]:
    """Documents of 4 to 30 words drawn from WORDS."""
    rng = np.random.default_rng(seed)
    return [
        Document(f"m{number}", "", " ".join(rng.choice(WORDS, int(rng.integers(4, 30))))) for number in range(count)
    ]


def write_static_encoder(folder: Path, *, width: int = 24, seed: int = 0) -> Path:
    """A folder of static embeddings: a random vector a word, the same for words of one sense."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    known = sorted({"the", "of", "on", *WORDS, *SAME_SENSE})
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *known])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(seed).standard_normal((len(vocabulary), width)).astype(np.float32)
    table[0] = 0.0
    for word, sense in SAME_SENSE.items():
        table[vocabulary[word]] = table[vocabulary[sense]]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embedding": table}, folder / "static.safetensors")
    return folder


def clustered_vectors(count: int, *, width: int = 32, clusters: int = 20, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length 1 around some centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, width))
    vectors = centres[rng.integers(0, clusters, count)] + 0.4 * rng.standard_normal((count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
