"""Judging many requests at once: lines of a file in, one record a line out, the second tier asked in batches.

Records are measurements: nothing of them is put on the audit log, and no cache is asked or filled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.errors import InvalidInputError, first_fault
from acgs.governance.decision import COMPREHENSIVE, Decision, Governor
from acgs.governance.limits import check_limits
from acgs.settings import Settings

BATCH: Final = 64
"""Lines judged between two writes; the second tier gets the uncertain ones of a batch together."""

Mode = Literal["inline", "comprehensive"]
OnError = Literal["stop", "record"]
SecondTierLogits = Callable[[list[str]], NDArray[np.float32]]
"""Logits of texts, shape (len(texts), heads)."""


class Citing(Protocol):
    """Finds passages to stand beside a decision."""

    provenance: dict[str, Any]
    """What fixes the passages that a text gets."""

    def cite(self, query: str) -> dict[str, Any]:
        """The record's field `citations` for a text."""
        ...


class EvaluationLine(BaseModel):
    """One request of the input file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: Annotated[str, Field(min_length=1)]
    domain: str = "general"
    context: dict[str, Any] | None = None
    id: str | int | None = None


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line as read, without its line end. Numbers count from 1."""

    number: int
    data: bytes

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the bytes, by which a record knows its line again."""
        return hashlib.sha256(self.data).hexdigest()


def numbered(lines: Iterable[bytes]) -> Iterator[NumberedLine]:
    """Number lines; blank ones are counted and left out."""
    for number, line in enumerate(lines, start=1):
        data = line.rstrip(b"\r\n")
        if data.strip():
            yield NumberedLine(number, data)


@dataclass(frozen=True, slots=True)
class _Judged:
    line: NumberedLine
    request: EvaluationLine | None
    decision: Decision | None = None
    error: InvalidInputError | None = None


class FileEvaluator:
    """Judges lines under one governor. With `on_error` `record` a line that cannot be judged gets an error record."""

    def __init__(
        self,
        governor: Governor,
        limits: Settings,
        *,
        second_tier: SecondTierLogits | None = None,
        citing: Citing | None = None,
        on_error: OnError = "stop",
    ) -> None:
        """`second_tier` makes the mode `comprehensive`, `citing` puts passages beside every decision."""
        self._governor = governor
        self._limits = limits
        self._second_tier = second_tier
        self._citing = citing
        self._on_error = on_error
        self.provenance: dict[str, Any] = {
            "mode": "inline" if second_tier is None else "comprehensive",
            "constitution_digest": governor.constitution.digest,
            "bundle_version": governor.bundle.version,
            "citing": None if citing is None else citing.provenance,
        }
        """What every record says about how it was made; it says nothing of what is None."""

    def judge(self, lines: Sequence[NumberedLine], stop: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
        """Records of the lines from the first one on; fewer where `stop` said so or a later line cannot be judged.

        What was begun is finished, so that every record given out stands.

        Raises:
            InvalidInputError: `on_error` is `stop` and the first line cannot be judged; line and field are named.
            UnavailableError: the rules or the second tier could not answer.
        """
        begun: list[_Judged] = []
        for line in lines:
            if stop():
                break
            try:
                begun.append(self._first_look(line))
            except InvalidInputError:
                if not begun:
                    raise
                break
        return self._records(begun)

    def _records(self, judged: list[_Judged]) -> list[dict[str, Any]]:
        if self._second_tier is not None:
            judged = self._second_look(judged, self._second_tier)
        return [self._record(item) for item in judged]

    def _first_look(self, line: NumberedLine) -> _Judged:
        request: EvaluationLine | None = None
        try:
            request = _parse(line)
            context = request.context or {}
            document = self._governor.constitution.document
            check_limits(request.query, request.domain, context, limits=self._limits, domains=document.domains)
            return _Judged(line, request, self._governor.decide(request.query, request.domain, context))
        except InvalidInputError as error:
            named = InvalidInputError(f"line {line.number}: {error.message}", field=error.field)
            if self._on_error == "stop":
                raise named from error
            return _Judged(line, request, error=named)

    def _second_look(self, judged: list[_Judged], second_tier: SecondTierLogits) -> list[_Judged]:
        """Put the uncertain ones before the second tier, all their texts in one call."""
        asked = [
            (place, item.decision)
            for place, item in enumerate(judged)
            if item.decision is not None and item.decision.final_decision == "uncertain"
        ]
        if not asked:
            return judged
        logits = second_tier([text for _, decision in asked for text in decision.evidence.texts])
        result, start = list(judged), 0
        for place, decision in asked:
            end = start + len(decision.evidence.texts)
            worst = logits[start:end].max(axis=0)
            final = self._governor.conclude(decision.evidence, worst, COMPREHENSIVE)
            result[place] = _Judged(judged[place].line, judged[place].request, final)
            start = end
        return result

    def _record(self, item: _Judged) -> dict[str, Any]:
        record: dict[str, Any] = {"line": item.line.number, "input_sha256": item.line.digest}
        if item.request is not None and item.request.id is not None:
            record["id"] = item.request.id
        if item.error is not None:
            record["error"] = {"code": item.error.code, "message": item.error.message, "field": item.error.field}
        if item.decision is not None:
            decision = item.decision
            record |= {
                "final_decision": decision.final_decision,
                "confidence": decision.consensus.confidence,
                "violation_probability": decision.consensus.violation_probability,
                "score": decision.evaluation.score,
                "matched_rules": decision.matched_rules,
                "principle_scores": decision.principle_scores,
                "tier": decision.tier,
            }
            if self._citing is not None and item.request is not None:
                record["citations"] = self._citing.cite(item.request.query)
        return record | {name: value for name, value in self.provenance.items() if value is not None}


def _parse(line: NumberedLine) -> EvaluationLine:
    try:
        return EvaluationLine.model_validate(orjson.loads(line.data))
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"not JSON in UTF-8: {error.msg}", field="line") from error
    except ValidationError as error:
        field, fault = first_fault(error, whole="line")
        raise InvalidInputError(f"{field}: {fault}", field=field) from error
