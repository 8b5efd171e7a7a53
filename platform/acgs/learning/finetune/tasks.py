"""Task files: questions with one right choice, and prompts with one right answer. One JSON object a line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, ValidationInfo, field_validator

from acgs.errors import InvalidInputError
from acgs.learning.data.records import invalid_row
from acgs.learning.data.rows import open_rows

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChoiceTask(_Task):
    """A question; `answer` is the place of the right choice, from 0."""

    question: Text
    choices: tuple[Text, ...] = Field(min_length=2)
    answer: int = Field(ge=0, strict=True)

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(choices)) != len(choices):
            raise ValueError("two choices are the same")
        return choices

    @field_validator("answer")
    @classmethod
    def _among_the_choices(cls, answer: int, known: ValidationInfo) -> int:
        choices = known.data.get("choices")
        if choices is not None and answer >= len(choices):
            raise ValueError(f"{answer} is no place among {len(choices)} choices; the first is 0")
        return answer


class MatchTask(_Task):
    """A prompt whose answer must be `target`, spaces around it aside."""

    prompt: Text
    target: Text


Task = ChoiceTask | MatchTask


def read_tasks(path: Path) -> list[Task]:
    """Every task of a file.

    Raises:
        InvalidInputError: the file cannot be read or is empty, or a row is no task; row and field are named.
    """
    tasks = [_task(row, where) for where, row in open_rows(str(path))]
    if not tasks:
        raise InvalidInputError(f"{path.name} holds no task", field="evaluation.tasks")
    return tasks


def _task(row: Mapping[str, Any], where: str) -> Task:
    kind = ChoiceTask if "question" in row or "choices" in row else MatchTask
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise invalid_row(error, where) from None
