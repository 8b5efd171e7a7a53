"""Which column of a foreign row becomes which part of a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from pydantic import ValidationError

from acgs.errors import InvalidInputError
from acgs.learning.data.records import Message, Record, invalid_row
from acgs.learning.data.transcripts import parse_transcript


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Column names. Of `messages`, `transcript`, `prompt` (with `response`) and `text` the first present is taken."""

    messages: str = "messages"
    transcript: str = "transcript"
    prompt: str = "prompt"
    response: str = "response"
    text: str = "text"
    id: str = "id"
    group: str = "group"
    user: str = "user"
    principle: str = "principle"
    domain: str = "domain"
    context: str = "context"

    @classmethod
    def of(cls, **names: str | None) -> Self:
        """The default names, but for those given."""
        return cls(**{name: value for name, value in names.items() if value is not None})

    @property
    def named(self) -> dict[str, str]:
        """The columns whose name is not the default: they must be there."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


_CONTENT: Final = ("messages", "transcript", "prompt", "text")


def record_of(where: str, row: Mapping[str, Any], columns: ColumnMap, *, source: str) -> Record:
    """Build a record; columns without a part of their own go to `metadata`.

    Raises:
        InvalidInputError: a column is missing or holds what it cannot; row and column are named, the value is not.
    """
    for column in columns.named.values():
        if column not in row:
            raise InvalidInputError(f"{where}: column '{column}' is missing; found: {', '.join(row)}", field=column)
    used = set()

    def take(part: str) -> Any:
        column = getattr(columns, part)
        used.add(column)
        return row.get(column)

    form = _form(where, row, columns)
    if form == "text":
        content: dict[str, Any] = {"text": take("text")}
    elif form == "messages":
        content = {"messages": take("messages")}
    elif form == "transcript":
        content = {"messages": parse_transcript(_text(where, columns.transcript, take("transcript")), where)}
    else:
        content = {"messages": _exchange(where, columns, take("prompt"), take("response"))}
    named = {part: take(part) for part in ("group", "user", "domain", "context")}
    kept: dict[str, Any] = {part: value for part, value in named.items() if value is not None}
    for part in ("group", "user"):
        if isinstance(kept.get(part), int) and not isinstance(kept[part], bool):
            kept[part] = str(kept[part])
    principles = take("principle")
    if principles is not None:
        kept["principles"] = (principles,) if isinstance(principles, str) else tuple(principles)
    identity = take("id")
    rest = {name: value for name, value in row.items() if name not in used and value is not None}
    try:
        return Record(id=where if identity is None else str(identity), source=source, **content, **kept, metadata=rest)
    except ValidationError as error:
        raise invalid_row(error, where) from None


def _form(where: str, row: Mapping[str, Any], columns: ColumnMap) -> str:
    asked = [part for part in _CONTENT if part in columns.named]
    for part in asked or _CONTENT:
        if row.get(getattr(columns, part)) is not None:
            return part
    wanted = ", ".join(f"'{getattr(columns, part)}'" for part in asked or _CONTENT)
    raise InvalidInputError(
        f"{where}: none of the columns {wanted} holds anything; found: {', '.join(row) or 'no columns'}",
        field=getattr(columns, (asked or ["prompt"])[0]),
    )


def _text(where: str, column: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(f"{where}: column '{column}' must be a text that is not empty", field=column)
    return value


def _exchange(where: str, columns: ColumnMap, prompt: Any, response: Any) -> tuple[Message, ...]:
    messages = [Message(role="user", content=_text(where, columns.prompt, prompt))]
    if response is not None:
        messages.append(Message(role="assistant", content=_text(where, columns.response, response)))
    elif "response" in columns.named:
        raise InvalidInputError(f"{where}: column '{columns.response}' is empty", field=columns.response)
    return tuple(messages)
