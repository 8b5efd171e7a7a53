"""IRB: is this research with human subjects, how risky, with whom, and are approval and consent in place?

After the Common Rule, 45 CFR 46. Human subjects research is a word for research together with one for people taking
part (either may come from the context); "no human subjects" and the like turn the word round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acgs.governance.domains.context_walk import ContextScan, scan_context, string_list
from acgs.governance.domains.finding import (
    DomainFinding,
    Json,
    Requirement,
    blocking,
    compliance_score,
    recommendations,
    unread,
)
from acgs.governance.domains.phrases import fold
from acgs.governance.domains.research.vocabulary import RESEARCH, VULNERABLE

_DOMAINS = frozenset({"research", "clinical_research", "clinical research", "academic"})
_HUMAN = frozenset({"humansubjects", "involveshumansubjects", "humanparticipants"})
_APPROVED = frozenset({"irbapproved", "irbapproval", "ethicsapproval", "ethicsapproved"})
_CONSENT = frozenset({"informedconsent", "consentobtained", "consent", "informedconsentobtained"})
_EXEMPT = frozenset({"irbexempt", "exempt", "exemption"})
_DEIDENTIFIED = frozenset({"deidentified", "anonymized", "anonymised"})
_RISK = frozenset({"risklevel", "risk", "studyrisk"})
_HIGH_RISKS = frozenset({"high", "more_than_minimal", "more than minimal", "greater than minimal", "elevated"})


class ResearchCheck:
    """The research domain; fills `irb_compliance`."""

    name = "research"
    callback = "irb_compliance"

    def check(self, query: str, context: Mapping[str, Any]) -> DomainFinding:
        """Judge one request.

        Approval and consent are what the context states; a mention in the text is no proof. Exempt research (46.104)
        needs neither, unless the risk is more than minimal or vulnerable people take part.
        """
        scan = scan_context(context)
        folded = fold(query)
        words = RESEARCH.affirmed(folded)
        human = _human_subjects(scan, words)
        vulnerable = _vulnerable(folded, scan, context) if human else []
        risky = human and (_stated_risk(scan) or "risk" in words)
        exempt = human and not risky and not vulnerable and _exempt(scan, words)
        approval_needed = human and not exempt
        needs = _requirements(scan, vulnerable) if approval_needed else []
        needs += unread(scan.problems) if human else []
        return DomainFinding(
            self.callback,
            {
                "irb_approval_required": approval_needed,
                "informed_consent_needed": approval_needed,
                "risk_level": "more_than_minimal" if risky else "minimal",
                "vulnerable_populations": bool(vulnerable),
                "compliance_score": compliance_score(needs),
                "recommendations": recommendations(needs),
                "applicable": human,
                "exempt": exempt,
                "populations": list(vulnerable),
                "irb_approved": scan.flag(_APPROVED),
                "informed_consent_obtained": scan.flag(_CONSENT),
                "not_examined": list(scan.problems),
            },
            blocking(needs),
            {
                "human_subjects": human,
                "irb_approval_required": approval_needed,
                "more_than_minimal_risk": risky,
                "vulnerable_populations": bool(vulnerable),
                "irb_exempt": exempt,
                "context_incomplete": bool(scan.problems),
            },
        )


def _human_subjects(scan: ContextScan, words: set[str]) -> bool:
    stated = scan.flag(_HUMAN)
    if stated is not None:
        return stated
    domain = scan.first(frozenset({"domain"}))
    in_research = "research" in words or (
        domain is not None and isinstance(domain.value, str) and domain.value.lower() in _DOMAINS
    )
    return in_research and "human_subjects" in words


def _vulnerable(folded: str, scan: ContextScan, context: Mapping[str, Any]) -> list[Json]:
    named = VULNERABLE.affirmed(folded)
    for population in string_list(context, "populations") or []:
        named |= VULNERABLE.affirmed(fold(population))
    if scan.flag(frozenset({"vulnerablepopulations", "vulnerable"})) is True:
        named.add("stated")
    return [*sorted(named)]


def _stated_risk(scan: ContextScan) -> bool:
    stated = scan.first(_RISK)
    return stated is not None and isinstance(stated.value, str) and stated.value.lower() in _HIGH_RISKS


def _exempt(scan: ContextScan, words: set[str]) -> bool:
    return "exempt" in words or scan.flag(_EXEMPT) is True or scan.flag(_DEIDENTIFIED) is True


def _requirements(scan: ContextScan, vulnerable: list[Json]) -> list[Requirement]:
    approved, consent = scan.flag(_APPROVED), scan.flag(_CONSENT)
    needs = [
        Requirement(
            "irb.45cfr46.109.approval",
            approved,
            "Obtain the review board's approval before the research starts and say so in context.irb_approved.",
            "/context/irb_approved",
            blocks=approved is False,
        ),
        Requirement(
            "irb.45cfr46.116.informed_consent",
            consent,
            "Obtain informed consent or a waiver and say so in context.informed_consent.",
            "/context/informed_consent",
            blocks=consent is False,
        ),
    ]
    if vulnerable:
        guarded = scan.flag(frozenset({"additionalsafeguards", "safeguards", "parentalpermission"}))
        needs.append(
            Requirement(
                "irb.45cfr46.111.b.additional_safeguards",
                guarded,
                "Describe the additional safeguards for the people in context.additional_safeguards.",
                "/context/additional_safeguards",
                blocks=guarded is False,
            )
        )
    return needs
