"""Three public sets of real text with one question, harmful or not, split by group.

`surge_toxicity` and `hatecheck` label single texts. `hh_rlhf_harmless_test` does not: of two answers to one dialogue a
person marked the more harmful. Which of the two is worse is all that is known, so a dialogue gives one text, its last
question with one of the answers, and the label is whether that was the worse one. Which answer is taken is drawn from
the dialogue's own digest: nobody's dialogue counts twice, and both labels occur equally often. Red-team questions as
the harmful class and answers as the harmless one would be easier by far, and teach who is speaking.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.governance.scenarios.deduplicate import fold_of
from acgs.governance.scenarios.language import phrase
from acgs.governance.scenarios.public_sets import load_public

HARM_SETS: Final = ("hh_rlhf_harmless_test", "surge_toxicity", "hatecheck")
PARTS: Final = 10
VALIDATION_PARTS: Final = (0, 1)
DEVELOPMENT_PARTS: Final = (2, 3)
"""Of the training texts, those that settings are chosen on; the models are then trained on them too."""

_FILES: Final = {
    "hh_rlhf_harmless_test": "harmless-base.test.jsonl.gz",
    "surge_toxicity": "toxicity_en.csv",
    "hatecheck": "test_suite_cases.csv",
}
_TURN: Final = re.compile(r"\n\n(?:Human|Assistant): ")
_SPACE: Final = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class HarmText:
    """One record: the unit that differential privacy protects."""

    text: str
    harmful: bool
    group: str
    source: str


@dataclass(frozen=True, slots=True)
class HarmCorpus:
    """Labelled texts, row by row. `parts` holds a number below `PARTS` for each, the same for all of a group."""

    texts: list[str]
    harmful: NDArray[np.bool_]
    groups: NDArray[np.int64]
    sources: list[str]
    parts: NDArray[np.int64]
    origins: dict[str, str]
    """SHA-256 of each set's file, which the privacy ledger charges."""

    @property
    def training(self) -> NDArray[np.int64]:
        """Rows that are trained on, development included."""
        return np.flatnonzero(~np.isin(self.parts, VALIDATION_PARTS))

    @property
    def development(self) -> NDArray[np.int64]:
        """Rows of the training part that settings are chosen on."""
        return np.flatnonzero(np.isin(self.parts, DEVELOPMENT_PARTS))

    @property
    def validation(self) -> NDArray[np.int64]:
        """Rows that no training and no choice reads."""
        return np.flatnonzero(np.isin(self.parts, VALIDATION_PARTS))

    @property
    def digest(self) -> str:
        """SHA-256 over texts, labels and parts."""
        content = hashlib.sha256("\0".join(self.texts).encode())
        content.update(self.harmful.tobytes() + self.parts.tobytes())
        return content.hexdigest()


def load_harm_corpus(folder: Path, sets: Sequence[str] = HARM_SETS, *, seed: int) -> HarmCorpus:
    """Load the sets and split them.

    A record's part depends on its own group and the seed alone, never on other records. Groups: the template of a
    hatecheck case, the first question of a dialogue, else the text itself, case and punctuation aside.

    Raises:
        InvalidInputError: a set is unknown, absent or malformed, or one of the parts lacks a label.
    """
    for name in sets:
        if name not in _FILES:
            raise InvalidInputError(f"unknown set '{name}'; known: {', '.join(HARM_SETS)}", field="set")
    texts = [text for name in sets for text in _load(folder, name)]
    names = sorted({text.group for text in texts})
    numbers = {name: number for number, name in enumerate(names)}
    corpus = HarmCorpus(
        texts=[text.text for text in texts],
        harmful=np.array([text.harmful for text in texts], dtype=bool),
        groups=np.array([numbers[text.group] for text in texts], dtype=np.int64),
        sources=[text.source for text in texts],
        parts=np.array([fold_of(f"{seed}/{text.group}", PARTS) for text in texts], dtype=np.int64),
        origins={name: hashlib.sha256((folder / name / _FILES[name]).read_bytes()).hexdigest() for name in sets},
    )
    for rows in (corpus.training, corpus.development, corpus.validation):
        if len(set(corpus.harmful[rows].tolist())) < 2:
            raise InvalidInputError("a part of the split lacks harmful or harmless texts; name more sets", field="set")
    return corpus


def _load(folder: Path, name: str) -> list[HarmText]:
    if name != "hh_rlhf_harmless_test":
        examples = load_public(folder, name)
        by_template = name == "hatecheck"
        return [
            HarmText(e.text, e.violates, e.group if by_template else f"{name}/{_normal(e.text)}", name)
            for e in examples
        ]
    try:
        return list(_dialogues(folder / name / _FILES[name]))
    except (OSError, KeyError, ValueError) as error:
        raise InvalidInputError(f"cannot load '{name}' from {folder}: {error}", field="set") from error


def _dialogues(path: Path) -> Iterator[HarmText]:
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        for line in handle:
            row = json.loads(line)
            coin = hashlib.sha256((row["chosen"] + "\0" + row["rejected"]).encode()).digest()[0] % 2 == 1
            turns = _TURN.split(row["rejected" if coin else "chosen"])[1:]
            if len(turns) < 2:
                raise ValueError("a dialogue without question and answer")
            question, answer = turns[-2].strip(), turns[-1].strip()
            group = f"hh_rlhf_harmless_test/{_normal(turns[0])}"
            yield HarmText(f"{question}\n{answer}", coin, group, "hh_rlhf_harmless_test")


def _normal(text: str) -> str:
    return hashlib.sha256(_SPACE.sub(" ", text.lower()).strip().encode()).hexdigest()[:16]


def public_texts(folder: Path, sets: Sequence[str], *, phrases: int, seed: int) -> dict[str, bool]:
    """Texts of public sets and phrases generated from the lexicon, each with whether it is harmful.

    Raises:
        InvalidInputError: a set is unknown or cannot be read.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible phrases, not secrets
    made = (phrase(rng) for _ in range(phrases))
    found = {one.text: bool(one.breaches) for one in made}
    for name in sets:
        found |= {example.text: example.violates for example in load_public(folder, name)}
    return found
