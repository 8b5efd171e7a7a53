"""Task files are looked at whole before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import InvalidInputError
from acgs.learning.finetune.tasks import ChoiceTask, MatchTask, read_tasks

CHOICE: dict[str, Any] = {"question": "What buzzes?", "choices": ["stone", "bees"], "answer": 1}
MATCH: dict[str, Any] = {"prompt": "What grows?", "target": " herbs "}


def written(folder: Path, *rows: object) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_both_kinds_may_stand_in_one_file(tmp_path: Path) -> None:
    first, second = read_tasks(written(tmp_path, CHOICE, MATCH))
    assert first == ChoiceTask(question="What buzzes?", choices=("stone", "bees"), answer=1)
    assert second == MatchTask(prompt="What grows?", target="herbs")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**CHOICE, "answer": 2}, "answer"),
        ({**CHOICE, "answer": -1}, "answer"),
        ({**CHOICE, "answer": "1"}, "answer"),
        ({**CHOICE, "answer": True}, "answer"),
        ({**CHOICE, "choices": ["bees"]}, "choices"),
        ({**CHOICE, "choices": ["bees", "bees "]}, "choices"),
        ({**CHOICE, "choices": ["bees", " "]}, "choices.1"),
        ({"question": "What buzzes?", "choices": ["a", "b"]}, "answer"),
        ({"choices": ["a", "b"], "answer": 0}, "question"),
        ({"prompt": "What grows?"}, "target"),
        ({"prompt": "", "target": "x"}, "prompt"),
        ({"text": "x"}, "prompt"),
        ({**MATCH, "hint": "h"}, "hint"),
    ],
)
def test_a_row_that_is_no_task_is_named_with_its_field_but_not_repeated(
    tmp_path: Path, row: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_tasks(written(tmp_path, CHOICE, row))
    assert caught.value.field == field
    assert caught.value.message.startswith(f"tasks.jsonl, row 2: {field}: ")
    assert "buzzes" not in caught.value.message


def test_a_file_that_is_missing_empty_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not exist"):
        read_tasks(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInputError, match="holds no task"):
        read_tasks(written(tmp_path))
    broken = written(tmp_path, CHOICE)
    broken.write_text(broken.read_text() + "{oops\n")
    with pytest.raises(InvalidInputError, match="row 2"):
        read_tasks(broken)
