"""Score, criticise, revise, score again: at most a few rounds, and never for a response that complies."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from acgs.learning.data.records import Message, Record
from acgs.learning.revision.acceptance import better, is_refusal, unfit
from acgs.learning.revision.assessment import Assessment, Case, Judge, require_independent
from acgs.learning.revision.chain import Chain, DropReason, Round, Sampling, Status, Verdict
from acgs.learning.revision.content import Kept, content_kept
from acgs.learning.revision.reviser import Draft, Reviser, Task


class LoopSettings(BaseModel):
    """What a run depends on besides its parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_rounds: int = Field(3, ge=1, le=10)
    seed: int = 0
    sampling: Sampling = Sampling()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()


@dataclass(frozen=True, slots=True)
class Row:
    """A record with the number and digest of its line in the input."""

    line: int
    input_sha256: str
    record: Record


@dataclass(slots=True)
class _Work:
    """A row on its way. `current` is the best response so far, `standing` what the critic says of it."""

    row: Row
    response: str
    first: Assessment
    current: str
    standing: Assessment
    rounds: list[Round] = field(default_factory=list)
    stopped: bool = False
    fault: DropReason | None = None

    @property
    def open(self) -> bool:
        return not self.stopped and not self.standing.compliant


class RevisionLoop:
    """Runs batches of rows. A row's chain depends on the row, the settings and the seed, not on its batch."""

    def __init__(
        self, *, critic: Judge, evaluator: Judge, reviser: Reviser, constitution_digest: str, settings: LoopSettings
    ) -> None:
        """
        Raises:
            InvalidInputError: the evaluator is the critic.
        """
        require_independent(critic, evaluator)
        self._critic = critic
        self._evaluator = evaluator
        self._reviser = reviser
        self._settings = settings
        self.provenance: dict[str, str] = {
            "constitution_digest": constitution_digest,
            "generator_id": reviser.identity,
            "critic_id": critic.identity,
            "evaluator_id": evaluator.identity,
            "settings_digest": settings.digest,
        }
        """What every chain says about how it was made."""

    def run(self, rows: Sequence[Row]) -> list[Chain]:
        """One chain a row, in order.

        Raises:
            InvalidInputError: a row's domain or context cannot be judged.
            UnavailableError: a part cannot answer.
        """
        started = time.perf_counter()
        answered = [row for row in rows if row.record.response is not None]
        responses = [str(row.record.response) for row in answered]
        scored = self._critic.assess([_case(row, text) for row, text in zip(answered, responses, strict=True)])
        works = [
            _Work(*parts, current=parts[1], standing=parts[2])
            for parts in zip(answered, responses, scored, strict=True)
        ]
        for work in works:
            if work.first.context_rules:
                work.stopped, work.fault = True, "context_breach"
        for number in range(1, self._settings.max_rounds + 1):
            self._round(number, [work for work in works if work.open])
        before = self._evaluator.assess([_case(work.row, work.response) for work in works])
        after = self._evaluator.assess([_case(work.row, work.current) for work in works])
        share = (time.perf_counter() - started) / max(1, len(rows))
        chains = {
            work.row.line: self._chain(work, old, new, share)
            for work, old, new in zip(works, before, after, strict=True)
        }
        return [chains.get(row.line) or self._unanswered(row, share) for row in rows]

    def _round(self, number: int, works: Sequence[_Work]) -> None:
        if not works:
            return
        started = time.perf_counter()
        tasks = [Task(work.row.record.prompt, work.current, work.standing) for work in works]
        drafts = self._reviser.revise(tasks, seed=self._settings.seed + number)
        # A judge refuses blank texts; an empty draft is judged by the response it failed to improve.
        cases = [_case(work.row, draft.revision or work.current) for work, draft in zip(works, drafts, strict=True)]
        verdicts = self._critic.assess(cases)
        share = (time.perf_counter() - started) / len(works)
        for work, draft, verdict in zip(works, drafts, verdicts, strict=True):
            _take(work, number, draft, verdict, share)

    def _chain(self, work: _Work, before: Assessment, after: Assessment, seconds: float) -> Chain:
        record = work.row.record
        revised = work.current != work.response
        reason = _drop_reason(work)
        status: Status = "dropped" if reason else "revised" if revised else "compliant"
        best = next((item for item in reversed(work.rounds) if item.improved), None)
        critique = next((item for step in work.rounds for item in step.critiques), None)
        kept = content_kept(work.response, before, work.current) if revised else Kept(None, None)
        final = (*record.prompt, Message(role="assistant", content=work.current))
        usable = status == "revised"
        return Chain(
            **self._frame(work.row, seconds),
            status=status,
            drop_reason=reason,
            init_response=work.response,
            principle_id=critique.principle_id if critique else None,
            critic_prompt=critique.prompt if critique else None,
            critic_response=critique.response if critique else None,
            revision_prompt=best.revision_prompt if best else None,
            revision_response=best.revision_response if best else None,
            messages=final if status != "dropped" else (),
            chosen=final if usable else (),
            rejected=record.messages if usable else (),
            rounds=tuple(work.rounds),
            critic_before=_verdict(work.first),
            critic_after=_verdict(work.standing),
            evaluator_before=_verdict(before),
            evaluator_after=_verdict(after),
            content_kept=kept.words,
            sentences_kept=kept.sentences,
            refusal_before=is_refusal(work.response),
            refusal_after=is_refusal(work.current),
        )

    def _unanswered(self, row: Row, seconds: float) -> Chain:
        return Chain(
            **self._frame(row, seconds),
            status="dropped",
            drop_reason="no_response",
            init_response="",
        )

    def _frame(self, row: Row, seconds: float) -> dict[str, Any]:
        """What every chain of the run has."""
        record = row.record
        prompt = record.prompt[-1].content if record.prompt else ""
        return {
            "line": row.line,
            "input_sha256": row.input_sha256,
            "id": record.id,
            "group": record.group,
            "user": record.user,
            "init_prompt": prompt,
            "prompt": prompt,
            **self.provenance,
            "sampling": self._settings.sampling,
            "seed": self._settings.seed,
            "seconds": seconds,
        }


def _take(work: _Work, number: int, draft: Draft, verdict: Assessment, seconds: float) -> None:
    """Enter a round; take its revision over if it is fit and better, else stop with the best one so far."""
    work.fault = unfit(work.current, draft.revision)
    improved = work.fault is None and better(verdict, work.standing)
    work.rounds.append(
        Round(
            round=number,
            critiques=draft.critiques,
            revision_prompt=draft.revision_prompt,
            revision_response=draft.revision,
            before=_verdict(work.standing),
            after=_verdict(verdict),
            improved=improved,
            seconds=seconds,
        )
    )
    if improved:
        work.current, work.standing = draft.revision, verdict
    else:
        work.stopped = True


def _drop_reason(work: _Work) -> DropReason | None:
    if work.standing.compliant:
        return None
    if work.fault is not None:
        return work.fault
    return "still_breaches" if work.current != work.response else "not_improved"


def _case(row: Row, response: str) -> Case:
    return Case(response, row.record.domain, row.record.context)


def _verdict(assessment: Assessment) -> Verdict:
    return Verdict(
        compliant=assessment.compliant,
        score=round(assessment.score, 4),
        principles=assessment.principles,
        rules=assessment.rules,
    )
