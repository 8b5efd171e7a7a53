"""Passages that stand beside a decision: articles of a regulation, precedents. They change nothing of it.

Who finds them is not known here. The `receipt` of a search proves it as the decision's own proves the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

MOST_CITATIONS: Final = 20
"""More is a list of results, and for that there is the search itself."""

EXCERPT_CHARACTERS: Final = 400
"""Enough to know a passage by; its id leads to the whole."""

_CUT: Final = " …"


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Citation(_Schema):
    """One passage."""

    rank: int
    id: str
    title: str
    excerpt: str = Field(description=f"the passage's beginning, at most {EXCERPT_CHARACTERS} characters")
    score: float = Field(description="orders the passages of one answer; not comparable between answers")

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> Self:
        """A search's hit as it is cited."""
        return cls(rank=hit["rank"], id=hit["id"], title=hit["title"], excerpt=excerpt(hit["text"]), score=hit["score"])


class Cited(_Schema):
    """An answered search. That nothing was found is an answer too."""

    status: Literal["found", "nothing_found"]
    passages: list[Citation]
    route: str = Field(description="lexical, fused, cheap rerank or full rerank")
    configuration: str = Field(description="version of the retrieval configuration")
    index: str = Field(description="digest of the index, which fixes every passage's text")
    epoch: int = Field(description="of the retrieval application's user_config")
    receipt: dict[str, Any]
    receipt_nonce: str = Field(
        description="hex; SHA-256 of nonce and the JSON array [query, citations, null, [ids in order]] is the "
        "receipt's request_digest"
    )
    audit_leaf: str


class Uncited(_Schema):
    """No search was answered: there may be passages to cite."""

    status: Literal["unavailable"] = "unavailable"
    reason: str


Citations = Annotated[Cited | Uncited, Field(discriminator="status")]


def excerpt(text: str) -> str:
    """The beginning of a text on one line, cut between words where it is too long."""
    line = " ".join(text.split())
    if len(line) <= EXCERPT_CHARACTERS:
        return line
    room = line[: EXCERPT_CHARACTERS - len(_CUT) + 1]
    # A text without spaces is cut anywhere.
    return (room.rsplit(" ", 1)[0] if " " in room else room[:-1]) + _CUT
