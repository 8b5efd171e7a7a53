"""KYC and AML: must the customer be known, must names be screened, what came of it, and how high is the risk?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acgs.governance.domains.context_walk import ContextScan, scan_context, string_list
from acgs.governance.domains.finance.parties import MAX_PARTIES, parties
from acgs.governance.domains.finance.risk import (
    RiskFacts,
    amounts_in_text,
    looks_structured,
    risk_reasons,
    usable_amounts,
)
from acgs.governance.domains.finance.sanctions import MATCH_SCORE, SanctionsIndex
from acgs.governance.domains.finance.vocabulary import (
    COUNTERPARTY_KEYS,
    COUNTRY_KEYS,
    FINANCIAL,
    TRANSACTION_KEYS,
    TRANSFER_TYPES,
)
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

_DOMAINS = frozenset({"finance", "financial", "banking", "payments"})
_KYC_DONE = frozenset({"kycverified", "kyccompleted", "identityverified", "kyc"})
_CASH = frozenset({"cash", "iscash"})
_EXPOSED = frozenset({"pep", "ispep", "politicallyexposed"})
_ONBOARDING = frozenset({"onboarding", "newcustomer", "accountopening"})
_AMOUNTS = frozenset({"amount", "amounts", "transactions", "transactionamount", "value"})


class FinanceCheck:
    """The finance domain; fills `kyc_aml_compliance`."""

    name = "finance"
    callback = "kyc_aml_compliance"

    def __init__(self, *, sanctions: SanctionsIndex | None = None, high_risk_countries: Iterable[str] = ()) -> None:
        """Without `sanctions` every screening says `not_configured`, never `clear`.

        `high_risk_countries` are names or codes compared without case; the context may add its own.
        """
        self._sanctions = sanctions
        self._high_risk = frozenset(country.casefold() for country in high_risk_countries)

    def check(self, query: str, context: Mapping[str, Any]) -> DomainFinding:
        """Judge one request.

        `sanctions_check` is `match`, `possible_match`, `clear`, `nothing_to_screen` (needed, but no name given),
        `not_needed` or `not_configured`. Facts that require screening are a transfer with another party.
        """
        scan = scan_context(context)
        words = FINANCIAL.affirmed(fold(query))
        facts = self._facts(query, scan, words, context)
        transfer = _is_transfer(scan)
        counterparty = not COUNTERPARTY_KEYS.isdisjoint(scan.keys)
        onboarding = "onboarding" in words or scan.flag(_ONBOARDING) is True
        applicable = bool(words) or transfer or counterparty or not TRANSACTION_KEYS.isdisjoint(scan.keys)
        applicable = applicable or _domain(scan) in _DOMAINS
        screening = transfer or counterparty or onboarding or not words.isdisjoint({"transfer", "laundering"})
        kyc = onboarding or transfer or "transfer" in words or facts.cash
        named = parties(query, scan) if screening else []
        evidence, state = self._screen(named, needed=screening)
        reasons = risk_reasons(facts) + ([f"sanctions_{state}"] if state in {"match", "possible_match"} else [])
        needs = self._requirements(scan, facts, state, kyc=kyc, screening=screening, by_facts=transfer and counterparty)
        needs += unread(scan.problems) if applicable else []
        return DomainFinding(
            self.callback,
            {
                "kyc_required": kyc,
                "aml_screening_needed": screening,
                "risk_level": "high" if reasons else "low",
                "sanctions_check": state,
                "compliance_score": compliance_score(needs),
                "recommendations": recommendations(needs),
                "applicable": applicable,
                "risk_reasons": list(reasons),
                "evidence": evidence,
                "names_screened": len(named[:MAX_PARTIES]) if self._sanctions is not None else 0,
                "not_examined": list(scan.problems),
            },
            blocking(needs),
            {
                "kyc_required": kyc,
                "aml_screening_needed": screening,
                "high_risk": bool(reasons),
                "sanctions_check": state,
                "structuring": looks_structured(facts.amounts),
                "largest_amount": max(facts.amounts, default=0.0),
                "cash": facts.cash,
                "context_incomplete": bool(scan.problems),
            },
        )

    def _facts(self, query: str, scan: ContextScan, words: set[str], context: Mapping[str, Any]) -> RiskFacts:
        stated = string_list(context, "high_risk_countries") or []
        amounts = usable_amounts(value.value for value in scan.all(_AMOUNTS)) + amounts_in_text(fold(query))
        return RiskFacts(
            amounts=tuple(amounts),
            cash="cash" in words or scan.flag(_CASH) is True,
            exposed_person="pep" in words or scan.flag(_EXPOSED) is True,
            laundering_words="laundering" in words,
            countries=frozenset(str(value.value).casefold() for value in scan.all(COUNTRY_KEYS)),
            high_risk_countries=self._high_risk | {country.casefold() for country in stated},
        )

    def _screen(self, named: list[tuple[str, str]], *, needed: bool) -> tuple[list[Json], str]:
        if self._sanctions is None:
            return [], "not_configured"
        if not needed:
            return [], "not_needed"
        if not named:
            return [], "nothing_to_screen"
        evidence: list[Json] = []
        best = 0.0
        for where, name in named[:MAX_PARTIES]:
            for match in self._sanctions.screen(name):
                best = max(best, match.score)
                evidence.append(
                    {
                        "source": where,
                        "entity_id": match.entity_id,
                        "entity_kind": match.kind,
                        "list": match.list_name,
                        "list_digest": match.list_digest,
                        "alias_index": match.alias_index,
                        "score": match.score,
                    }
                )
        if best >= MATCH_SCORE:
            return evidence, "match"
        # Names beyond the limit were not looked at, so the request as a whole is not clear.
        return evidence, "possible_match" if evidence or len(named) > MAX_PARTIES else "clear"

    def _requirements(
        self, scan: ContextScan, facts: RiskFacts, state: str, *, kyc: bool, screening: bool, by_facts: bool
    ) -> list[Requirement]:
        needs: list[Requirement] = []
        if kyc:
            verified = scan.flag(_KYC_DONE)
            needs.append(
                Requirement(
                    "kyc.31cfr1020.220.customer_identification",
                    verified,
                    "Verify the customer's identity and say so in context.kyc_verified.",
                    "/context/kyc_verified",
                    blocks=verified is False,
                )
            )
        if screening:
            needs.append(_screening_requirement(state, by_facts=by_facts))
        if looks_structured(facts.amounts):
            needs.append(
                Requirement(
                    "aml.31cfr1010.314.structuring",
                    False,
                    "Several amounts lie just under the reporting threshold: have the case reviewed before it goes on.",
                    "/context/amounts",
                    blocks=True,
                )
            )
        return needs


def _screening_requirement(state: str, *, by_facts: bool) -> Requirement:
    advice = {
        "match": "Stop: a named party matches the sanctions list; have compliance decide.",
        "possible_match": "A named party may be on the sanctions list; have a person compare before it goes on.",
        "not_configured": "Name a sanctions list in the settings; parties could not be screened.",
        "nothing_to_screen": "Name the parties in the context, so that they can be screened.",
    }.get(state, "Keep the screening record.")
    return Requirement(
        "aml.31cfr501.sanctions_screening",
        state == "clear",
        advice,
        "/context",
        blocks=state in {"match", "possible_match"} or (by_facts and state != "clear"),
    )


def _is_transfer(scan: ContextScan) -> bool:
    kind = scan.first(frozenset({"transactiontype", "type", "paymenttype"}))
    if kind is not None and isinstance(kind.value, str) and kind.value.lower() in TRANSFER_TYPES:
        return True
    return not scan.keys.isdisjoint({"wire", "transfer", "wiretransfer"}) or (
        not COUNTERPARTY_KEYS.isdisjoint(scan.keys) and not scan.keys.isdisjoint(_AMOUNTS)
    )


def _domain(scan: ContextScan) -> str:
    found = scan.first(frozenset({"domain"}))
    return found.value.lower() if found is not None and isinstance(found.value, str) else ""
