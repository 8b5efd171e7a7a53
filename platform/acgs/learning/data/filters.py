"""Filtering by the constitution: what complies is kept, and every rejected row says why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import orjson

from acgs.errors import InvalidInputError
from acgs.governance.decision import Governor
from acgs.learning.data.records import Record
from acgs.learning.data.verdicts import TextVerdict, judge_text

Uncertain = Literal["keep", "drop"]
Judged = Literal["all", "response"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row was not kept. It never repeats a text."""

    id: str
    verdict: str
    principles: tuple[str, ...]
    rules: tuple[str, ...]

    def line(self) -> bytes:
        """Its JSON, one line of the rejects file."""
        return orjson.dumps(self) + b"\n"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The rules and principles, or that it was too uncertain to tell."""
        return self.rules + self.principles


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of a row; a row without a rejection is kept."""

    verdict: str
    rejection: Rejection | None


@dataclass(slots=True)
class FilterCounts:
    """What a filter did so far."""

    kept: int = 0
    rejected: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, judgement: Judgement) -> None:
        """Count one row."""
        rejection = judgement.rejection
        self.verdicts[judgement.verdict] += 1
        self.kept += rejection is None
        self.rejected += rejection is not None
        if rejection is not None:
            self.reasons.update(rejection.reasons)

    def require_any_kept(self) -> None:
        """
        Raises:
            InvalidInputError: nothing was kept; the most frequent reasons are named.
        """
        if self.kept:
            return
        if not self.rejected:
            raise InvalidInputError("there are no rows to filter", field="input")
        reasons = ", ".join(f"{name} ({count})" for name, count in self.reasons.most_common(3))
        raise InvalidInputError(
            f"all {self.rejected} rows were filtered out, most often by {reasons}; revise them with "
            "'acgs data revise' or filter other data",
            field="input",
        )


class ConstitutionFilter:
    """Judges rows by the rules and the inline guard."""

    def __init__(self, governor: Governor, *, uncertain: Uncertain = "drop", judged: Judged = "all") -> None:
        """`judged` chooses between prompt and response, or the response alone where the prompt may be hostile."""
        self._governor = governor
        self._uncertain = uncertain
        self._judged = judged

    def judge(self, record: Record) -> Judgement:
        """Judge one row.

        Raises:
            InvalidInputError: unknown domain, or a context field of the wrong type; the row is named.
        """
        verdicts = [self._verdict(record, text) for text in self._texts(record)]
        worst = _worst([verdict.verdict for verdict in verdicts])
        kept = worst == "comply" or (worst == "uncertain" and self._uncertain == "keep")
        return Judgement(worst, None if kept else _rejection(record.id, worst, verdicts))

    def _texts(self, record: Record) -> list[str]:
        if record.text is not None:
            return [record.text]
        if self._judged == "response" and record.response is not None:
            return [record.response]
        return [message.content for message in record.messages]

    def _verdict(self, record: Record, text: str) -> TextVerdict:
        try:
            return judge_text(self._governor, text, record.domain, record.context)
        except InvalidInputError as error:
            raise InvalidInputError(f"row '{record.id}': {error.message}", field=error.field) from error


def _worst(verdicts: list[str]) -> str:
    return next(name for name in ("violate", "uncertain", "comply") if name in verdicts)


def _rejection(identity: str, verdict: str, verdicts: list[TextVerdict]) -> Rejection:
    principles = dict.fromkeys(name for item in verdicts for name in item.principles)
    rules = dict.fromkeys(name for item in verdicts for name in item.rules)
    return Rejection(identity, verdict, tuple(principles), tuple(rules))
