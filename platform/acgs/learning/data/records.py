"""The one record of training data: a chat, or a bare text for domain-adaptive pre-training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acgs.errors import InvalidInputError, first_fault

Role = Literal["system", "user", "assistant"]


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    content: str = Field(min_length=1)


class Record(BaseModel):
    """One row of a data set: `messages` or `text`, never both.

    A prompt with its response is a chat whose last message is the assistant's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    messages: tuple[Message, ...] = ()
    text: str | None = Field(None, min_length=1)
    group: str | None = Field(None, description="rows that belong together never stand on two sides of a split")
    user: str | None = Field(None, description="the person whose privacy the row touches")
    principles: tuple[str, ...] = Field((), description="principles the row is known to breach")
    domain: str = "general"
    context: dict[str, Any] = {}
    source: str = Field(min_length=1)
    metadata: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if bool(self.messages) == (self.text is not None):
            raise ValueError("a record holds either messages or text")
        return self

    @property
    def response(self) -> str | None:
        """The last message if it is the assistant's; None for a text or a bare prompt."""
        return self.messages[-1].content if self.messages and self.messages[-1].role == "assistant" else None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What the response answers."""
        return self.messages if self.response is None else self.messages[:-1]

    @property
    def contents(self) -> str:
        """All that the record says, one part after the other."""
        return self.text if self.text is not None else "\n\n".join(message.content for message in self.messages)

    @property
    def keys(self) -> tuple[str, ...]:
        """What ties it to other records; a record without group and user is tied to none."""
        keys = [f"{kind}:{value}" for kind, value in (("user", self.user), ("group", self.group)) if value is not None]
        return tuple(keys) or (f"id:{self.id}",)

    def with_response(self, response: str) -> Self:
        """The same prompt, answered otherwise."""
        return self.model_copy(
            update={"messages": (*self.prompt, Message(role="assistant", content=response)), "principles": ()}
        )

    def line(self) -> bytes:
        """Its JSON, one line of a file; defaults are left out."""
        return self.model_dump_json(exclude_defaults=True).encode() + b"\n"


def parse_record(line: bytes, where: str) -> Record:
    """Read a line that `Record.line` wrote.

    Raises:
        InvalidInputError: it is no record; `where` and the field are named, the value is not.
    """
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        raise invalid_row(error, where) from None


def invalid_row(error: ValidationError, where: str) -> InvalidInputError:
    """The first fault of a row, by its place and column alone."""
    field, fault = first_fault(error, whole="row")
    return InvalidInputError(f"{where}: {field}: {fault}", field=field)
