"""Text without labels for distillation: sentences of dialogues, and known texts with words exchanged.

The teacher says what it thinks of them; the inline encoder so learns words that no labelled text holds.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_TURN = re.compile(r"\n\n(?:Human|Assistant): ")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n+")
_WORD = re.compile(r"[a-z]{3,}")
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the and for with how you can what tell explain write give that this are from your their his her not without "
        "who when where why best way any tips need want",
    )
)
_SENTENCE_LENGTHS = range(12, 200)
_LONGEST_VARIED = 150


def dialogue_sentences(folder: Path, limit: int, rng: random.Random) -> list[str]:
    """Distinct sentences of both answers in `hh_rlhf_harmless_test`, none where the set is absent."""
    path = folder / "hh_rlhf_harmless_test" / "harmless-base.test.jsonl.gz"
    if not path.exists():
        return []
    found: dict[str, None] = {}
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        for line in handle:
            row = json.loads(line)
            for key in ("chosen", "rejected"):
                for turn in _TURN.split(row[key])[1:]:
                    sentences = _SENTENCE_END.split(turn)
                    found.update(dict.fromkeys(s for s in sentences if len(s) in _SENTENCE_LENGTHS))
    sentences = list(found)
    rng.shuffle(sentences)
    return sentences[:limit]


def word_exchanged(
    texts: Sequence[str], vocabulary_from: Sequence[str], count: int, rng: random.Random
) -> list[tuple[str, int]]:
    """Copies of short texts with one or two content words replaced by random ones seen at least twice.

    Returns:
        pairs of a new text and the row of the text it was made from, so that it can share that text's fold.
    """
    counts = Counter(word for text in vocabulary_from for word in _WORD.findall(text.lower()))
    words = sorted(word for word, times in counts.items() if times > 1 and word not in _FUNCTION_WORDS)
    short = [row for row, text in enumerate(texts) if len(text) < _LONGEST_VARIED]
    varied: list[tuple[str, int]] = []
    for _ in range(count):
        row = rng.choice(short)
        parts = texts[row].split(" ")
        places = [i for i, part in enumerate(parts) if len(part) > 2 and part.lower() not in _FUNCTION_WORDS]
        for place in rng.sample(places, min(len(places), rng.choice((1, 1, 2)))):
            parts[place] = rng.choice(words)
        varied.append((" ".join(parts), row))
    return varied
