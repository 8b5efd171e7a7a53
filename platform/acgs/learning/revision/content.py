"""How much of what was right in a response survived its revision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from acgs.learning.data.sentences import content_words, sentence_spans
from acgs.learning.revision.assessment import Assessment


@dataclass(frozen=True, slots=True)
class Kept:
    """Shares in [0, 1]; None where the response had no compliant content to keep."""

    words: float | None
    sentences: float | None


def content_kept(response: str, assessment: Assessment, revision: str) -> Kept:
    """Compare the response's compliant sentences with the revision.

    `words`: of the content words (case folded, stop words left out, counted as often as they occur) of the sentences in
    which the assessment finds no breach, the share that the revision has as often. A refusal shares hardly any, so
    refusing everything scores about 0. `sentences`: the share of those sentences that stand in it word for word.
    """
    flagged = {(finding.start, finding.end) for finding in assessment.findings}
    good = [response[start:end] for start, end in sentence_spans(response) if (start, end) not in flagged]
    words: Counter[str] = sum((content_words(text) for text in good), Counter())
    if not words:
        return Kept(None, None)
    survived = words & content_words(revision)
    return Kept(survived.total() / words.total(), sum(text in revision for text in good) / len(good))
