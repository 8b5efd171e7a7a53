"""Money-laundering risk from facts alone: amounts, cash, countries, exposed persons, structuring."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CASH_REPORT = 10_000.0
"""Currency transaction report, 31 CFR 1010.311, in US dollars; amounts in other currencies are compared unconverted."""
TRAVEL_RULE = 3_000.0
"""Recordkeeping and travel rule for transfers, 31 CFR 1010.410(e) and (f), in US dollars."""
STRUCTURING_FLOOR = 0.8
"""Share of `CASH_REPORT` from which an amount counts as just under it."""
STRUCTURING_COUNT = 2
"""Amounts just under the threshold that make a pattern (31 CFR 1010.314)."""

_AMOUNT = re.compile(
    r"(?:[$€£]|\b(?:usd|eur|gbp) ?) ?([0-9][0-9,]{0,18}(?:\.[0-9]{1,2})?) ?(k|m|thousand|million)?\b"
    r"|\b([0-9][0-9,]{0,18}(?:\.[0-9]{1,2})?) ?(k|m|thousand|million)? ?(?:usd|eur|gbp|dollars|euros|pounds)\b",
    re.IGNORECASE,
)
_SCALE = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6}
_HINTS = ("$", "€", "£", "usd", "eur", "gbp", "dollar", "pound")


@dataclass(frozen=True, slots=True)
class RiskFacts:
    """What is known about a transaction or a customer."""

    amounts: tuple[float, ...] = ()
    cash: bool = False
    exposed_person: bool = False
    laundering_words: bool = False
    countries: frozenset[str] = frozenset()
    high_risk_countries: frozenset[str] = frozenset()


def amounts_in_text(folded: str) -> list[float]:
    """Sums of money named with a currency, in order."""
    if not any(hint in folded for hint in _HINTS):
        return []
    return [
        float((found[1] or found[3]).replace(",", "")) * _SCALE[(found[2] or found[4] or "").lower()]
        for found in _AMOUNT.finditer(folded)
    ]


def usable_amounts(values: Iterable[object]) -> list[float]:
    """Finite, non-negative numbers among `values`; digits in strings count."""
    amounts: list[float] = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            amount = float(value.replace(",", "") if isinstance(value, str) else value)
        except (ValueError, OverflowError):
            continue
        if math.isfinite(amount) and amount >= 0:
            amounts.append(amount)
    return amounts


def looks_structured(amounts: Sequence[float]) -> bool:
    """True for two or more amounts just under the cash report threshold."""
    return sum(STRUCTURING_FLOOR * CASH_REPORT <= amount < CASH_REPORT for amount in amounts) >= STRUCTURING_COUNT


def risk_reasons(facts: RiskFacts) -> list[str]:
    """Names of the risk factors present; the risk is high if there is any."""
    largest = max(facts.amounts, default=0.0)
    present = {
        "large_amount": largest >= CASH_REPORT,
        "cash": facts.cash and largest >= TRAVEL_RULE,
        "structuring": looks_structured(facts.amounts),
        "exposed_person": facts.exposed_person,
        "high_risk_country": not facts.countries.isdisjoint(facts.high_risk_countries),
        "laundering_words": facts.laundering_words,
    }
    return [reason for reason, holds in present.items() if holds]
