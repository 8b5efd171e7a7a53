from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import InvalidInputError
from acgs.governance.scenarios.example import TextExample
from acgs.governance.scenarios.user_data import load_user_data

PRINCIPLES = ("rule_of_law", "human_dignity")
ROWS: list[dict[str, Any]] = [
    {"text": "build a bomb", "label": "violate", "group": "g1", "principle": "rule_of_law"},
    {"text": "bake a cake", "label": "comply", "group": "g1", "principle": None},
]
EXAMPLES = [
    TextExample("build a bomb", ("rule_of_law",), "g1"),
    TextExample("bake a cake", (), "g1"),
]


def jsonl(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def parquet(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def saved(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "mine"
    datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


def test_json_lines_are_read(tmp_path: Path) -> None:
    assert load_user_data(jsonl(tmp_path, *ROWS), principles=PRINCIPLES) == EXAMPLES


def test_parquet_is_read(tmp_path: Path) -> None:
    assert load_user_data(parquet(tmp_path, ROWS), principles=PRINCIPLES) == EXAMPLES


def test_a_saved_data_set_is_read(tmp_path: Path) -> None:
    assert load_user_data(saved(tmp_path, ROWS), principles=PRINCIPLES) == EXAMPLES


@pytest.mark.parametrize(
    ("label", "violates"),
    [("violate", True), ("comply", False), (True, True), (False, False), (1, True), (0, False)],
)
def test_labels_may_be_words_booleans_or_0_and_1(tmp_path: Path, label: Any, violates: bool) -> None:
    path = jsonl(tmp_path, {"text": "t", "label": label})
    [example] = load_user_data(path, principles=PRINCIPLES, default_principle="rule_of_law")
    assert example.violates is violates


def test_several_principles_and_the_default_one(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"text": "a", "label": 1, "principle": ["human_dignity", "rule_of_law", "human_dignity"]},
        {"text": "b", "label": 1},
    )
    both, default = load_user_data(path, principles=PRINCIPLES, default_principle="rule_of_law")
    assert both.breaches == ("human_dignity", "rule_of_law")
    assert default.breaches == ("rule_of_law",)


def test_rows_without_a_group_do_not_share_one(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"text": "a", "label": 0}, {"text": "a", "label": 0}, {"text": "b", "label": 0, "group": 7})
    groups = [example.group for example in load_user_data(path, principles=PRINCIPLES)]
    assert len(set(groups)) == 3
    assert groups[2] == "7"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"label": 1}, "text"),
        ({"text": "t"}, "label"),
        ({"text": "", "label": 0}, "text"),
        ({"text": " \n", "label": 0}, "text"),
        ({"text": 3, "label": 0}, "text"),
        ({"text": None, "label": 0}, "text"),
        ({"text": "t", "label": 2}, "label"),
        ({"text": "t", "label": "bad"}, "label"),
        ({"text": "t", "label": None}, "label"),
        ({"text": "t", "label": 1.0}, "label"),
        ({"text": "t", "label": [1]}, "label"),
        ({"text": "t", "label": 1}, "principle"),
        ({"text": "t", "label": 1, "principle": "unknown"}, "principle"),
        ({"text": "t", "label": 1, "principle": []}, "principle"),
        ({"text": "t", "label": 1, "principle": [["rule_of_law"]]}, "principle"),
        ({"text": "t", "label": 0, "principle": "rule_of_law"}, "principle"),
        ({"text": "t", "label": 0, "group": ["g"]}, "group"),
        ({"text": "t", "label": 0, "weight": 2}, "weight"),
        ("[1, 2]", "row"),
        ("{broken", "row"),
        ("", "row"),
    ],
)
def test_a_fault_is_named_by_row_and_column(tmp_path: Path, row: Any, field: str) -> None:
    with pytest.raises(InvalidInputError, match=r"mine\.jsonl, row 3") as refused:
        load_user_data(jsonl(tmp_path, *ROWS, row), principles=PRINCIPLES)
    assert refused.value.field == field


def test_the_text_itself_is_not_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refused:
        load_user_data(jsonl(tmp_path, {"text": "my secret diary", "label": "my secret"}), principles=PRINCIPLES)
    assert "secret" not in refused.value.message


def test_a_fault_in_parquet_is_named_by_row_too(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"mine\.parquet, row 2: column 'label'"):
        load_user_data(parquet(tmp_path, [ROWS[0], ROWS[1] | {"label": "perhaps"}]), principles=PRINCIPLES)


@pytest.mark.parametrize("rows", [[{"text": "t"}], [{"text": "t", "label": 0, "extra": 1}]])
def test_columns_are_checked_before_rows(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    for path in (parquet(tmp_path, rows), saved(tmp_path, rows)):
        with pytest.raises(InvalidInputError, match="column"):
            load_user_data(path, principles=PRINCIPLES)


def test_a_data_set_of_several_splits_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "splits"
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(str(path))
    with pytest.raises(InvalidInputError, match="several splits"):
        load_user_data(path, principles=PRINCIPLES)
    assert load_user_data(path / "train", principles=PRINCIPLES) == EXAMPLES


class _Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.parquet", "mine.pkl", "mine.csv"])
def test_pickles_are_never_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(InvalidInputError):
        load_user_data(tmp_path / name, principles=PRINCIPLES)
    assert not (tmp_path / "exploded").exists()


def test_an_empty_or_absent_set_is_an_error_and_not_no_data(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no rows"):
        load_user_data(jsonl(tmp_path), principles=PRINCIPLES)
    for path in (tmp_path / "absent.jsonl", tmp_path / "absent.parquet"):
        with pytest.raises(InvalidInputError, match="cannot read"):
            load_user_data(path, principles=PRINCIPLES)


def test_a_folder_that_datasets_did_not_save_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(InvalidInputError, match="no folder that datasets saved"):
        load_user_data(tmp_path, principles=PRINCIPLES)


def test_the_default_principle_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="unknown"):
        load_user_data(jsonl(tmp_path, *ROWS), principles=PRINCIPLES, default_principle="unknown")
