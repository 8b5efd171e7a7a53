from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from acgs.errors import InvalidInputError
from acgs.learning.guard.harm_corpus import load_harm_corpus


def write_surge(folder: Path, rows: list[tuple[str, str]]) -> Path:
    path = folder / "surge_toxicity" / "toxicity_en.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("text", "is_toxic"), *rows])
    return folder


def write_dialogues(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    path = folder / "hh_rlhf_harmless_test" / "harmless-base.test.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as handle:
        for question, better, worse in rows:
            opening = f"\n\nHuman: {question}\n\nAssistant: "
            handle.write(json.dumps({"chosen": opening + better, "rejected": opening + worse}) + "\n")
    return folder


@pytest.fixture
def posts() -> list[tuple[str, str]]:
    return [(f"post number {i} about the weather", "Toxic" if i % 2 else "Not Toxic") for i in range(80)]


def test_a_dialogue_gives_one_text_whose_label_says_whether_its_answer_was_the_worse(tmp_path: Path) -> None:
    rows = [(f"question {i}?", f"kind {i}", f"nasty {i}") for i in range(120)]
    corpus = load_harm_corpus(write_dialogues(tmp_path, rows), ["hh_rlhf_harmless_test"], seed=1)
    assert len(corpus.texts) == len(rows)
    for text, harmful in zip(corpus.texts, corpus.harmful, strict=True):
        question, answer = text.split("\n")
        assert question.startswith("question")
        assert answer.startswith("nasty" if harmful else "kind")
    assert 0.35 < corpus.harmful.mean() < 0.65


def test_texts_of_one_group_are_on_one_side(shared_data: Path) -> None:
    corpus = load_harm_corpus(shared_data, seed=7)
    parts = defaultdict(set)
    for group, part in zip(corpus.groups.tolist(), corpus.parts.tolist(), strict=True):
        parts[group].add(part)
    assert all(len(found) == 1 for found in parts.values())
    assert not set(corpus.training) & set(corpus.validation)
    assert len(corpus.training) + len(corpus.validation) == len(corpus.texts)
    assert set(corpus.development) <= set(corpus.training)


def test_a_record_stays_where_it_is_when_others_leave(tmp_path: Path, posts: list[tuple[str, str]]) -> None:
    whole = load_harm_corpus(write_surge(tmp_path / "whole", posts), ["surge_toxicity"], seed=3)
    fewer = load_harm_corpus(write_surge(tmp_path / "fewer", posts[10:]), ["surge_toxicity"], seed=3)
    where = dict(zip(whole.texts, whole.parts.tolist(), strict=True))
    assert [where[text] for text in fewer.texts] == fewer.parts.tolist()


def test_another_seed_makes_another_split(tmp_path: Path, posts: list[tuple[str, str]]) -> None:
    folder = write_surge(tmp_path, posts)
    one, other = (load_harm_corpus(folder, ["surge_toxicity"], seed=seed) for seed in (1, 2))
    assert not np.array_equal(one.parts, other.parts)
    assert one.digest != other.digest


@pytest.mark.parametrize("name", ["surge_toxicity", "hh_rlhf_harmless_test", "hatecheck", "weather"])
def test_a_set_that_cannot_be_loaded_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        load_harm_corpus(tmp_path, [name], seed=1)


def test_data_with_one_label_is_refused(tmp_path: Path) -> None:
    folder = write_surge(tmp_path, [(f"text {i}", "Toxic") for i in range(40)])
    with pytest.raises(InvalidInputError, match="lacks"):
        load_harm_corpus(folder, ["surge_toxicity"], seed=1)
