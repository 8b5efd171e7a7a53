"""What a search asks and answers across a boundary. Needs no index, encoder or library of theirs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SearchRequest(BaseModel):
    """Body of `POST /retrieval/search`."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1)
    topk: int = Field(10, ge=1, le=1000, description="at most the candidates that the configuration allows are found")
    budget_ms: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="most milliseconds for reranking; 0: words alone"
    )
    receipt: bool = Field(False, description="put the search on the audit log and return its signed receipt")
    constitutional_hash: str = Field(description="label or digest of the constitution in force")


class Hit(BaseModel):
    """One passage."""

    model_config = ConfigDict(extra="forbid")

    rank: int
    id: str
    score: float
    title: str
    text: str


class SearchAnswer(BaseModel):
    """Ranked passages, and how they were found."""

    model_config = ConfigDict(extra="forbid")

    results: list[Hit]
    route: str = Field(description="lexical, fused, cheap rerank or full rerank")
    predicted_gain: float | None = Field(description="of nDCG@10 by the full rerank; null without a router")
    spent_ms: float = Field(description="time that reranking took")
    total_ms: float
    configuration: str = Field(description="version of the retrieval configuration")
    index: str = Field(description="digest of the index")
