from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acgs.causal.reading import drop_gaps, first_gap, read_columns
from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_only_the_wanted_columns_are_read_as_numbers_or_texts(tmp_path: Path) -> None:
    path = _file(tmp_path, "log.csv", "arm,x_1,x_2,secret\n1,2.5,a,s\n0,NA,b,t\n")
    found = read_columns(path, ("arm", "x_*"))
    assert list(found) == ["arm", "x_1", "x_2"]
    assert found["arm"].tolist() == [1.0, 0.0]
    assert np.isnan(found["x_1"][1])
    assert found["x_2"].tolist() == ["a", "b"]


def test_json_lines_may_lack_a_field_or_gain_one(tmp_path: Path) -> None:
    path = _file(tmp_path, "log.jsonl", '{"a": 1, "b": "x"}\n\n{"a": true, "c": 3, "list": [1]}\n{"b": null, "a": 2}\n')
    found = read_columns(path, ("a", "b", "c"))
    assert found["a"].tolist() == [1.0, 1.0, 2.0]
    assert found["b"].tolist() == ["x", "", ""]
    assert found["c"][1] == 3.0
    assert np.isnan(found["c"][[0, 2]]).all()


def test_rows_with_gaps_are_left_out_only_when_asked_and_counted(tmp_path: Path) -> None:
    columns = read_columns(_file(tmp_path, "log.csv", "a,b\n1,x\n,y\n3,\n4,z\n"), ("*",))
    assert first_gap(columns) == "a"
    whole, dropped = drop_gaps(columns)
    assert whole["a"].tolist() == [1.0, 4.0]
    assert whole["b"].tolist() == ["x", "z"]
    assert dropped == 2
    assert first_gap(whole) is None
    with pytest.raises(InsufficientDataError, match="every row has a gap"):
        drop_gaps({"a": np.array([np.nan]), "b": np.array([1.0])})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", "a,b\n1,2\n3\n", "log.csv, line 3: 1 cells where the header has 2"),
        ("log.csv", "a,a\n1,2\n", "two columns named a"),
        ("log.jsonl", '{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("log.jsonl", "[1, 2]\n", "line 1 is not a JSON object"),
        ("log.jsonl", '{"a": [1]}\n', "line 1: a is neither a number nor a text"),
    ],
)
def test_a_file_that_is_no_table_names_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_columns(_file(tmp_path, name, text), ("*",))
    assert message in refused.value.message


def test_a_number_is_written_as_files_write_it_not_as_python_does(tmp_path: Path) -> None:
    table = tmp_path / "log.csv"
    table.write_text("cost,size\n1_000,1e3\n2000,-2\n")
    columns = read_columns(table, ["cost", "size"])
    assert columns["cost"].tolist() == ["1_000", "2000"]
    assert columns["size"].tolist() == [1000.0, -2.0]


def test_a_cell_that_is_too_long_is_named_by_its_row(tmp_path: Path) -> None:
    path = _file(tmp_path, "log.csv", f"a,b\n1,2\n1,{'7' * 200_000}\n")
    with pytest.raises(InvalidInputError, match=r"row 2 after the header: field larger than field limit"):
        read_columns(path, ("*",))


def test_an_empty_file_and_one_of_other_bytes_are_refused(tmp_path: Path) -> None:
    for text in ("", "a,b\n"):
        with pytest.raises(InsufficientDataError, match="has no rows"):
            read_columns(_file(tmp_path, "log.csv", text), ("*",))
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(InvalidInputError, match="no table of UTF-8 text"):
        read_columns(tmp_path / "log.csv", ("*",))
