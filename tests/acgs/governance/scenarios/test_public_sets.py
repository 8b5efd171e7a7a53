from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.governance.scenarios.public_sets import LOADERS, load_public, mapping


def _principle_lists(value: Any) -> list[list[str]]:
    if value is None:
        return []
    if isinstance(value, list):
        return [value]
    return [found for item in value.values() for found in _principle_lists(item)]


def test_the_mapping_names_principles_of_the_constitution_only(constitution: LockedConstitution) -> None:
    named = _principle_lists(mapping())
    assert len(named) > 15
    assert {name for names in named for name in names} <= set(constitution.document.core_principle_ids)


def test_every_category_of_catqa_is_mapped_or_left_out_on_purpose(shared_data: Path) -> None:
    categories = json.loads((shared_data / "catqa_harmfulqa" / "catqa_english.json").read_text())
    assert set(categories) == set(mapping()["catqa"])


def test_every_category_of_harmbench_is_mapped(shared_data: Path) -> None:
    with (shared_data / "harmbench" / "harmbench_behaviors_text_val.csv").open(newline="") as handle:
        assert {row["SemanticCategory"] for row in csv.DictReader(handle)} <= set(mapping()["harmbench"])


def test_every_label_of_the_two_sided_sets_is_known(shared_data: Path) -> None:
    for path, column, known in (
        ("surge_toxicity/toxicity_en.csv", "is_toxic", {"Toxic", "Not Toxic"}),
        ("hatecheck/test_suite_cases.csv", "label_gold", {"hateful", "non-hateful"}),
    ):
        with (shared_data / path).open(newline="", encoding="utf-8") as handle:
            assert {row[column] for row in csv.DictReader(handle)} == known


@pytest.mark.parametrize("name", list(LOADERS))
def test_each_set_loads_with_labels_of_the_constitution(
    shared_data: Path, constitution: LockedConstitution, name: str
) -> None:
    examples = load_public(shared_data, name)
    core = set(constitution.document.core_principle_ids)
    assert len(examples) > 50
    assert all(example.text.strip() for example in examples)
    assert all(set(example.breaches) <= core for example in examples)
    assert any(example.violates for example in examples)
    two_sided = {"openai_moderation", "surge_toxicity", "hatecheck", "bipia"}
    assert all(example.violates for example in examples) is (name not in two_sided)


def test_sexual_content_with_minors_is_never_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "openai_moderation"
    folder.mkdir()
    rows = [{"prompt": "kept", "S": 1}, {"prompt": "withheld", "S": 1, "S3": 1}, {"prompt": "plain", "S3": 0}]
    with gzip.open(folder / "samples-1680.jsonl.gz", "wt") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    assert [example.text for example in load_public(tmp_path, "openai_moderation")] == ["kept", "plain"]


def test_variants_of_one_hatecheck_template_share_a_group(shared_data: Path) -> None:
    examples = load_public(shared_data, "hatecheck")
    assert len({example.group for example in examples}) < len(examples) / 3


@pytest.mark.parametrize("name", list(LOADERS))
def test_an_absent_set_is_an_error_and_not_an_empty_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot load"):
        load_public(tmp_path, name)


def test_an_unknown_set_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="hatecheck"):
        load_public(tmp_path, "imagenet")


def test_a_set_that_is_malformed_or_empty_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "advbench"
    folder.mkdir()
    file = folder / "advbench_behaviors.csv"
    file.write_text("Behavior,BehaviorID\n")
    with pytest.raises(InvalidInputError, match="no examples"):
        load_public(tmp_path, "advbench")
    file.write_text("Wrong,Columns\na,b\n")
    with pytest.raises(InvalidInputError, match="cannot load"):
        load_public(tmp_path, "advbench")
