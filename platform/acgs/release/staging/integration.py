"""Integration: what callers rely on beside a right answer, tried on real rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from acgs.errors import AcgsError, InvalidInputError
from acgs.release.staging.finding import ValidationResult
from acgs.serving.served import ServedVersion
from acgs.serving.windows import agree
from acgs.statistics.evidence import Verdict

ROWS: Final = 8
_TYPE: Final = "integration_test"


def check_integration(served: ServedVersion, inputs: Sequence[Any]) -> list[ValidationResult]:
    """Same question, same answer; alone as in company; answers that fit the schema; nonsense refused, not answered."""
    rows = list(inputs[:ROWS])
    trials = (
        ("the same question gets the same answer", _repeats),
        ("an answer does not depend on its neighbours", _alone),
        ("every answer is JSON and fits the output schema", _fits),
        ("an input that the schema forbids is refused", _refuses),
    )
    return [_tried(name, trial, served, rows) for name, trial in trials]


def _tried(name: str, trial: Any, served: ServedVersion, rows: list[Any]) -> ValidationResult:
    try:
        fault = trial(served, rows)
    except AcgsError as error:
        fault = error.message
    return ValidationResult(
        validation_type=_TYPE,
        measure=name,
        verdict=Verdict.PASS if fault is None else Verdict.FAIL,
        n=len(rows),
        reason=fault or f"holds for {len(rows)} rows",
    )


def _ask(served: ServedVersion, rows: list[Any]) -> list[Any]:
    served.check(rows)
    return served.predict(rows, {}).values


def _repeats(served: ServedVersion, rows: list[Any]) -> str | None:
    return None if agree(_ask(served, rows), _ask(served, rows)) else "asked twice, it answers differently"


def _alone(served: ServedVersion, rows: list[Any]) -> str | None:
    together, alone = _ask(served, rows), [_ask(served, [row])[0] for row in rows]
    return None if agree(together, alone) else "a row is answered differently alone than among others"


def _fits(served: ServedVersion, rows: list[Any]) -> str | None:
    for number, value in enumerate(orjson.loads(orjson.dumps(_ask(served, rows)))):
        served.package.output.check(value, field=f"predictions.{number}")
    return None


def _refuses(served: ServedVersion, _rows: list[Any]) -> str | None:
    nonsenses: tuple[Any, ...] = (None, {"no such field": [[]]})
    for nonsense in nonsenses:
        try:
            served.check([nonsense])
        except InvalidInputError:
            return None
    return "the input schema lets everything pass; say in model.json what an instance is"
