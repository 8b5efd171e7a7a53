"""Offline revision: a breaching sentence gives way to the most similar compliant one of a corpus; the rest stays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from sklearn.feature_extraction.text import TfidfVectorizer

from acgs.constitution.document import Constitution
from acgs.errors import InvalidInputError
from acgs.learning.data.records import Record
from acgs.learning.data.sentences import content_words, sentences
from acgs.learning.revision.assessment import Assessment, Case, Finding, Judge
from acgs.learning.revision.chain import Critique
from acgs.learning.revision.reviser import Draft, Task

_FEWEST_WORDS: Final = 3
_LEAST_SCORE: Final = 0.8
"""What is put into responses is held to more certainty than what already stands in them."""
_NGRAMS: Final = (1, 2)
_CANDIDATES: Final = 64
_ASSESSED_TOGETHER: Final = 256


def compliant_sentences(records: Iterable[Record], critic: Judge) -> list[str]:
    """The sentences of responses and texts that the critic finds compliant, each once, in order.

    Records that name a user are left out: their words would end up in rows of others, where privacy accounting by
    user does not look for them.
    """
    found: dict[str, None] = {}
    for record in records:
        said = record.response if record.response is not None else record.text
        if said is not None and record.user is None:
            found |= dict.fromkeys(text for text in sentences(said) if len(text.split()) >= _FEWEST_WORDS)
    texts = list(found)
    kept: list[str] = []
    for start in range(0, len(texts), _ASSESSED_TOGETHER):
        batch = texts[start : start + _ASSESSED_TOGETHER]
        verdicts = critic.assess([Case(text) for text in batch])
        kept += [text for text, verdict in zip(batch, verdicts, strict=True) if _is_clean(verdict)]
    return kept


def _is_clean(verdict: Assessment) -> bool:
    return verdict.compliant and verdict.score >= _LEAST_SCORE


class SentenceCorpus:
    """Sentences found by TF-IDF cosine similarity over words and pairs of words."""

    def __init__(self, texts: Sequence[str]) -> None:
        """
        Raises:
            InvalidInputError: there is no sentence with a word of content.
        """
        self._texts = [text for text in texts if content_words(text)]
        if not self._texts:
            raise InvalidInputError("the corpus holds no compliant sentence; name another corpus", field="corpus")
        self._vectorizer = TfidfVectorizer(ngram_range=_NGRAMS, sublinear_tf=True)
        self._vectors = self._vectorizer.fit_transform(self._texts)
        self.digest = hashlib.sha256("\n".join(self._texts).encode()).hexdigest()

    def nearest(self, sentence: str, around: str) -> list[str]:
        """Sentences that share words with `sentence` or with what is `around` it, the most similar first."""
        query = self._vectorizer.transform([sentence, around])
        similarity = (self._vectors @ query.T).toarray().sum(axis=1)
        order = similarity.argsort(kind="stable")[::-1][:_CANDIDATES]
        return [self._texts[place] for place in order if similarity[place] > 0]


class RetrievalEditReviser:
    """Edits breaching sentences only. Where nothing of the corpus is similar the sentence is left out."""

    def __init__(self, corpus: SentenceCorpus, constitution: Constitution) -> None:
        self._corpus = corpus
        self._principles = {principle.id: principle for principle in constitution.principles}
        self.identity = f"retrieval-edit:{corpus.digest[:16]}"

    def revise(self, tasks: Sequence[Task], *, seed: int) -> list[Draft]:
        """See `Reviser.revise`. Nothing is drawn at random, so the seed has no effect."""
        return [self._draft(task) for task in tasks]

    def _draft(self, task: Task) -> Draft:
        names = task.assessment.principles
        return Draft(
            critiques=tuple(self._critique(name, task) for name in names),
            revision_prompt="\n".join(self._principles[name].revision_request for name in names),
            revision=self._edit(task),
        )

    def _critique(self, principle: str, task: Task) -> Critique:
        """Quotes what breaches the principle."""
        quoted = [
            f'"{task.response[finding.start : finding.end]}"'
            for finding in task.assessment.findings
            if principle in finding.principles
        ]
        said = f"breaches {principle}: {'; '.join(quoted)}" if quoted else f"breaches {principle} as a whole"
        request = self._principles[principle].critique_request
        return Critique(principle_id=principle, prompt=request, response=f"The response {said}")

    def _edit(self, task: Task) -> str:
        prompt = task.prompt[-1].content if task.prompt else ""
        present = set(sentences(task.response))
        around = f"{prompt} {_without(task.response, task.assessment.findings)}"
        pieces: list[str] = []
        place = 0
        for finding in sorted(task.assessment.findings, key=lambda item: item.start):
            found = self._corpus.nearest(task.response[finding.start : finding.end], around)
            chosen = next((text for text in found if text not in present), "")
            present.add(chosen)
            pieces += [task.response[place : finding.start], chosen]
            place = finding.end
        return "".join([*pieces, task.response[place:]]).strip()


def _without(text: str, findings: Sequence[Finding]) -> str:
    pieces, place = [], 0
    for finding in sorted(findings, key=lambda item: item.start):
        pieces.append(text[place : finding.start])
        place = finding.end
    return "".join([*pieces, text[place:]])
