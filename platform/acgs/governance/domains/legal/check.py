"""Legal review: does a lawyer have to look at this, how exposed are we, and are the papers complete?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acgs.governance.domains.context_walk import ContextScan, scan_context, string_list
from acgs.governance.domains.finding import (
    DomainFinding,
    Requirement,
    blocking,
    compliance_score,
    recommendations,
    unread,
)
from acgs.governance.domains.legal.vocabulary import LEGAL, REVIEW_LABELS
from acgs.governance.domains.phrases import fold

LARGE_VALUE = 100_000.0
"""Contract or claim value from which the liability counts as high, in the context's own currency. House rule."""

_DOMAINS = frozenset({"legal", "law", "compliance"})
_REVIEWED = frozenset({"legalreviewed", "legalreview", "legalreviewcompleted", "counselapproved", "attorneyreviewed"})
_COMPLIANT = frozenset({"regulatorycompliance", "regulatorycompliant", "complianceapproved"})
_VALUES = frozenset({"contractvalue", "claimvalue", "claimamount", "damagesclaimed", "exposure"})
_MATTER_KEYS = frozenset({"contract", "contractid", "contracttype", "matter", "matterid", "casenumber", "litigation"})


class LegalCheck:
    """The legal domain; fills `legal_review`."""

    name = "legal"
    callback = "legal_review"

    def check(self, query: str, context: Mapping[str, Any]) -> DomainFinding:
        """Judge one request.

        `regulatory_compliance` and `documentation_complete` are None where the context does not say; documentation is
        complete when every item of `required_documents` is in `documents`.
        """
        scan = scan_context(context)
        words = LEGAL.affirmed(fold(query))
        required = not words.isdisjoint(REVIEW_LABELS) or _is_legal_matter(scan)
        exposed = "liability" in words or _largest_value(scan) >= LARGE_VALUE
        missing = _missing_documents(context)
        complete = None if missing is None else not missing
        compliant = scan.flag(_COMPLIANT)
        needs = _requirements(scan, complete, compliant) if required or missing else []
        needs += unread(scan.problems) if needs else []
        return DomainFinding(
            self.callback,
            {
                "legal_review_required": required,
                "regulatory_compliance": compliant,
                "liability_assessment": "high" if exposed else "low",
                "documentation_complete": complete,
                "compliance_score": compliance_score(needs),
                "recommendations": recommendations(needs),
                "applicable": bool(needs),
                "matters": [*sorted(words & REVIEW_LABELS)],
                "missing_documents": len(missing or ()),
                "legal_reviewed": scan.flag(_REVIEWED),
                "not_examined": list(scan.problems),
            },
            blocking(needs),
            {
                "legal_review_required": required,
                "high_liability": exposed,
                "documentation_incomplete": complete is False,
                "legal_deadline": "deadline" in words,
                "context_incomplete": bool(scan.problems),
            },
        )


def _is_legal_matter(scan: ContextScan) -> bool:
    if not scan.keys.isdisjoint(_MATTER_KEYS):
        return True
    domain = scan.first(frozenset({"domain"}))
    return domain is not None and isinstance(domain.value, str) and domain.value.lower() in _DOMAINS


def _largest_value(scan: ContextScan) -> float:
    values = [found.value for found in scan.all(_VALUES)]
    return max(
        (value for value in values if isinstance(value, int | float) and not isinstance(value, bool)), default=0.0
    )


def _missing_documents(context: Mapping[str, Any]) -> list[str] | None:
    """Names of required documents that are not there; None where no list of required ones is given."""
    required = string_list(context, "required_documents")
    if required is None:
        return None
    there = {document.strip().casefold() for document in string_list(context, "documents") or []}
    return [document for document in required if document.strip().casefold() not in there]


def _requirements(scan: ContextScan, complete: bool | None, compliant: bool | None) -> list[Requirement]:
    reviewed = scan.flag(_REVIEWED)
    needs = [
        Requirement(
            "legal.review",
            reviewed,
            "Have a lawyer review this and say so in context.legal_reviewed.",
            "/context/legal_reviewed",
            blocks=reviewed is False,
        )
    ]
    papers: list[tuple[str, bool | None, str, str]] = [
        (
            "legal.documentation",
            complete,
            "Add the documents in context.required_documents that are missing from context.documents.",
            "/context/documents",
        ),
        (
            "legal.regulatory_compliance",
            compliant,
            "Settle the open regulatory points and say so in context.regulatory_compliance.",
            "/context/regulatory_compliance",
        ),
    ]
    # Where the context is silent on papers or regulators, they are not part of this matter.
    needs += [
        Requirement(rule, met, advice, field, blocks=met is False)
        for rule, met, advice, field in papers
        if met is not None
    ]
    return needs
