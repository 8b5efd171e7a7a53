"""How a comparison file becomes runs that differ in what they are to differ in, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.errors import InvalidInputError
from acgs.learning.data.records import Message, Record
from acgs.learning.finetune.comparison import (
    Comparison,
    Variant,
    coverage,
    derive_variants,
    leaked_prompts,
    load_comparison,
)

RUN: dict[str, Any] = {
    "name": "small",
    "base_model": {"path": "base"},
    "phases": [
        {"kind": "dapt", "data": "texts", "method": "full"},
        {"kind": "sft", "data": "chats", "batch_size": 8, "learning_rate": 1e-3},
    ],
    "evaluation": {"tasks": "tasks.jsonl", "benign_prompts": "benign"},
    "seed": 5,
}


def written(folder: Path, run: dict[str, Any] | None = None, **settings: Any) -> Path:
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump({"run": {**RUN, **(run or {})}, **settings}), encoding="utf-8")
    return path


def variants(folder: Path, run: dict[str, Any] | None = None, **settings: Any) -> dict[str, Variant]:
    path = written(folder, run, **settings)
    return {variant.name: variant for variant in derive_variants(load_comparison(path), path.name)}


def test_every_variant_is_a_run_with_the_same_seed_base_and_held_out_data(tmp_path: Path) -> None:
    privacy = {"target_epsilon": 12, "population": "clinic"}
    found = variants(tmp_path, {"privacy": privacy}, revised_data="revised/sft", epsilons=[1, 8, 4])
    assert list(found) == ["sft", "revised", "dp-8", "dp-4", "dp-1"]
    for name, variant in found.items():
        config = variant.config
        assert config.name == f"small-{name}"
        assert (config.seed, config.base_model.path) == (5, tmp_path / "base")
        assert config.evaluation.held_out == tmp_path / "chats"
        assert config.evaluation.tasks == tmp_path / "tasks.jsonl"
        assert config.evaluation.benign_prompts == tmp_path / "benign"
        assert config.phases[0].data == tmp_path / "texts"
    assert found["revised"].config.phases[1].data == tmp_path / "revised" / "sft"
    assert [variant.config.phases[1].private for variant in found.values()] == [False, False, True, True, True]
    assert [variant.epsilon for variant in found.values()] == [None, None, 8, 4, 1]
    private = found["dp-4"].config.privacy
    assert private is not None
    assert (private.run_epsilon, private.target_epsilon, private.population) == (4, 12, "clinic")
    assert found["sft"].config.privacy is None


def test_private_variants_differ_in_what_private_says(tmp_path: Path) -> None:
    found = variants(tmp_path, epsilons=[8], private={"batch_size": 64, "data": "revised"})
    plain, private = found["sft"].config.phases[1], found["dp-8"].config.phases[1]
    assert (private.batch_size, private.data, private.learning_rate) == (64, tmp_path / "revised", 1e-3)
    assert (plain.batch_size, plain.data) == (8, tmp_path / "chats")
    assert found["dp-8"].config.privacy is not None
    assert found["dp-8"].config.privacy.target_epsilon == 8


def test_what_private_variants_may_spend_together_is_said_or_unknown() -> None:
    def budget(*epsilons: float, **privacy: Any) -> float | None:
        return Comparison(run={"privacy": privacy} if privacy else {}, epsilons=epsilons).budget

    assert budget(8, 4) is None
    assert budget(8, 4, population="p") is None
    assert budget(8, 4, target_epsilon=10) == 10
    assert budget(8) == 8


@pytest.mark.parametrize(
    ("run", "settings", "message"),
    [
        ({}, {"sft": False}, "nothing to compare"),
        ({}, {"epsilons": [4, 4.0]}, "two epsilons"),
        ({}, {"epsilons": [0]}, "epsilons.0"),
        ({}, {"variants": 3}, "variants"),
        ({}, {"private": {"batch": 3}}, "private.batch"),
        ({"privacy": {"population": "p"}}, {}, "no epsilons"),
        ({"privacy": {"run_epsilon": 3}}, {"epsilons": [3]}, "run_epsilon"),
        ({"phases": [{**RUN["phases"][1], "private": True}]}, {}, "marked private"),
        ({"phases": []}, {}, "run: phases"),
        ({"phases": "none"}, {}, "run: phases"),
        ({"surprise": 1}, {}, "run: surprise"),
        ({"name": "x" * 63}, {}, "variant sft: name"),
        ({"privacy": {"delta": 2}}, {"epsilons": [3]}, "run.privacy: delta"),
        ({"privacy": {"target_epsilon": "much"}}, {"epsilons": [3]}, "run.privacy: target_epsilon"),
        ({"privacy": "much"}, {"epsilons": [3]}, "privacy"),
        ({"lora": {"dora": True}}, {"epsilons": [3]}, "DoRA"),
    ],
)
def test_a_file_that_fits_no_run_is_refused_with_the_place(
    tmp_path: Path, run: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        variants(tmp_path, run, **settings)
    assert "compare.yaml" in caught.value.message


def asked(question: str, answer: str) -> Record:
    messages = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Record(id=question, messages=messages, source="test")


def test_held_out_prompts_in_training_data_are_counted_whatever_the_answer() -> None:
    held_out = [asked("a", "1"), asked("b", "1"), Record(id="t", text="words", source="test")]
    assert leaked_prompts([asked("c", "1")], held_out) == 0
    assert leaked_prompts([asked("a", "2"), asked("a", "3")], held_out) == 1
    assert leaked_prompts([Record(id="u", text="words", source="test")], held_out) == 1


def test_who_is_outside_the_guarantee_is_named() -> None:
    assert "No variant" in coverage([], [])
    assert "outside" not in coverage(["dp-8"], [])
    sentence = coverage(["dp-8", "dp-1"], ["sft"])
    assert "dp-8, dp-1 alone: sft learned without noise" in sentence
    assert sentence.count(".") == 1
