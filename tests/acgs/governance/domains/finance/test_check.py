from __future__ import annotations

import json
from typing import Any

import pytest

from acgs.governance.domains.finance import FinanceCheck
from acgs.governance.domains.finance.sanctions import ListedEntity, SanctionsIndex, SanctionsList
from acgs.governance.domains.finding import DomainFinding

LIST = SanctionsList.of(
    "test",
    [
        ListedEntity("1", "person", ("QADDAFI, Muammar", "Gadhafi, Moammar")),
        ListedEntity("2", "entity", ("Zarya Shipping Co. Ltd.",)),
        ListedEntity("3", "person", ("Iwanow, Sergej Petrowitsch", "Сергей Петрович Иванов")),
    ],
)
SCREENING = FinanceCheck(sanctions=SanctionsIndex([LIST]), high_risk_countries=["Ruritania"])
BLIND = FinanceCheck()


def wire(check: FinanceCheck, counterparty: str, **more: Any) -> DomainFinding:
    return check.check("please process", {"transaction_type": "wire", "counterparty": counterparty, **more})


def rules(finding: DomainFinding) -> list[str]:
    return [violation.rule for violation in finding.violations]


def test_without_a_list_screening_is_never_clear_and_a_transfer_is_refused() -> None:
    finding = wire(BLIND, "Anna Berg", amount=50)
    assert finding.result["sanctions_check"] == "not_configured"
    assert rules(finding) == ["aml.31cfr501.sanctions_screening"]
    assert BLIND.check("What is the weather?", {}).result["sanctions_check"] == "not_configured"
    assert BLIND.check("What is the weather?", {}).violations == []


@pytest.mark.parametrize("name", ["Muammar Qaddafi", "ZARYA SHIPPING", "Moamar Gadhafi", "Сергей Иванов Петрович"])
def test_a_listed_party_stops_the_transfer_in_any_order_and_script(name: str) -> None:
    finding = wire(SCREENING, name)
    assert finding.result["sanctions_check"] == "match"
    assert finding.result["risk_level"] == "high"
    assert rules(finding) == ["aml.31cfr501.sanctions_screening"]
    assert finding.result["evidence"][0]["list_digest"] == LIST.digest


def test_an_unlisted_party_is_clear_and_names_do_not_leak_into_the_result() -> None:
    finding = wire(SCREENING, "Margarethe Oberhuber", kyc_verified=True)
    assert finding.result["sanctions_check"] == "clear"
    assert finding.result["risk_level"] == "low"
    assert finding.result["compliance_score"] == 1.0
    assert finding.violations == []
    assert "Qaddafi" not in json.dumps(wire(SCREENING, "Muammar Qaddafi").result)


def test_names_in_the_text_are_screened_when_money_moves() -> None:
    finding = SCREENING.check("Wire $500 to Muammar Qaddafi today", {})
    assert finding.result["sanctions_check"] == "match"
    assert finding.result["evidence"][0]["source"] == "query"
    assert SCREENING.check("Who was Muammar Qaddafi?", {}).result["sanctions_check"] == "not_needed"


def test_more_parties_than_can_be_screened_are_not_clear() -> None:
    finding = SCREENING.check(
        "wire", {"transaction_type": "wire", "beneficiaries": [f"Person{n} Nobody" for n in range(40)]}
    )
    assert finding.result["sanctions_check"] == "possible_match"


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({"amount": 10_000}, "large_amount"),
        ({"amounts": [9500, 9700]}, "structuring"),
        ({"amount": 4000, "cash": True}, "cash"),
        ({"pep": True}, "exposed_person"),
        ({"counterparty_country": "ruritania"}, "high_risk_country"),
        ({"country": "Elbonia", "high_risk_countries": ["elbonia"]}, "high_risk_country"),
    ],
)
def test_each_risk_fact_alone_makes_the_risk_high(context: dict[str, Any], reason: str) -> None:
    assert SCREENING.check("transaction", {"amount": 100}).result["risk_level"] == "low"
    finding = SCREENING.check("transaction", context)
    assert finding.result["risk_level"] == "high"
    assert finding.result["risk_reasons"] == [reason]


def test_structuring_is_a_violation_also_from_amounts_in_the_text() -> None:
    assert rules(SCREENING.check("deposit $9,500 and then 9.8k usd", {})) == ["aml.31cfr1010.314.structuring"]


def test_a_transfer_to_an_unverified_customer_is_refused() -> None:
    assert rules(wire(SCREENING, "Margarethe Oberhuber", kyc_verified=False)) == [
        "kyc.31cfr1020.220.customer_identification"
    ]


def test_asking_about_money_laundering_is_no_risk() -> None:
    finding = SCREENING.check("What is money laundering?", {})
    assert finding.result["risk_level"] == "low"
    assert finding.result["aml_screening_needed"] is False


@pytest.mark.parametrize(
    "amount", [float("nan"), float("inf"), -5, "abc", "1e999", None, True, [], {"a": {"b": []}}, 10**400]
)
def test_amounts_that_are_none_do_not_raise(amount: Any) -> None:
    assert SCREENING.check("pay", {"amount": amount}).facts["largest_amount"] == 0.0
