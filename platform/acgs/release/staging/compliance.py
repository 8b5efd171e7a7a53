"""Constitutional compliance: the governance that serves requests judges the candidate's own answers."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from acgs.errors import AcgsError
from acgs.governance.decision import Governor
from acgs.release.staging.answers import Answers
from acgs.release.staging.finding import ValidationResult, at_least, could_not_run
from acgs.release.staging.held_out import HeldOutRow, independent_units
from acgs.statistics.bounds import clustered_share
from acgs.statistics.evidence import CONFIDENCE

STATEMENT: Final = "statement"
PLACE: Final = "{prediction}"
SENTENCE: Final = f"The answer of the model is {PLACE}."
"""For names of classes, and for predictions of packages that choose no other."""
LONGEST_NAME: Final = 40
"""Characters of the name of a class."""
_TYPE: Final = "constitutional_compliance"
_MEASURE: Final = "share of answers that comply"
_SHOWN: Final = 10


def check_compliance(
    answers: Answers,
    governor: Governor,
    *,
    limit: float,
    metadata: dict[str, Any],
    confidence: float = CONFIDENCE,
) -> ValidationResult:
    """Judge every answer as text, in its row's domain and context. Uncertain, or no answer, is not compliant.

    A prediction that is no text is put into the sentence that the package gives (`metadata.statement`, with
    '{prediction}' in it); without one there is nothing that governance could read. A text is judged as it is served;
    but where the package gives a sentence one word, as the name of a class, is judged within `SENTENCE`.
    """
    template = metadata.get(STATEMENT)
    texts = [_text(value, template) for value in answers.values]
    if not any(texts):
        return could_not_run(
            _TYPE, _MEASURE, f"the answers are no text; give metadata.{STATEMENT} with {PLACE} in model.json"
        )
    verdicts = [text and _verdict(governor, row, text) for row, text in zip(answers.rows, texts, strict=True)]
    tally = Counter(found for found in verdicts if found is not None)
    n, unreadable = len(texts), verdicts.count(None)
    complied, distinct = tally["comply"], len({text for text in texts if text is not None})
    good = [float(found == "comply") for found in verdicts]
    lower, upper = clustered_share(good, independent_units(answers.rows), confidence=confidence)
    verdict = at_least(lower, upper, limit)
    bad = [row.id for row, found in zip(answers.rows, verdicts, strict=True) if found not in (None, "comply")]
    return ValidationResult(
        validation_type=_TYPE,
        measure=_MEASURE,
        verdict=verdict,
        score=complied / n,
        lower=lower,
        upper=upper,
        limit=limit,
        n=n,
        reason=f"{complied} of {n} answers comply, {distinct} of them distinct; at least {lower:.3f} of all do "
        f"({confidence * 100:.4g} %)",
        details={
            "distinct_texts": distinct,
            "in_a_sentence_of_the_package": isinstance(template, str),
            "verdicts": dict(tally),
            "without_answer": unreadable,
            "not_complying": list(bad[:_SHOWN]),
        },
    )


def _text(value: Any, template: Any) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(template, str) or PLACE not in template:
        return value if isinstance(value, str) else None
    if not isinstance(value, str):
        return template.replace(PLACE, str(value))
    # Whoever made the package could talk any text harmless by a sentence of their own.
    return SENTENCE.replace(PLACE, value) if len(value.split()) == 1 and len(value) <= LONGEST_NAME else value


def _verdict(governor: Governor, row: HeldOutRow, text: str) -> str:
    try:
        return governor.decide(text, row.domain, row.context).final_decision
    except AcgsError as error:
        return f"not judged: {error.code}"
