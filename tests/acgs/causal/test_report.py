from __future__ import annotations

import json

import numpy as np
import pytest

from acgs.causal import AuditReport, audit, counterfactual_rows, measure
from tests.acgs.causal.logs import QUICK, bandit, experiment, table_of

FIELDS = (
    "slice_name,n_samples,ess,ess_ratio,valid_ess,pareto_kappa,valid_tails,control_pvalue,valid_control,"
    "sign_consistent,overall_valid,snips_delta,delta_range"
)


@pytest.fixture(scope="module")
def accepted() -> AuditReport:
    return audit(table_of(experiment(), negative_controls=("before",)), QUICK)


def test_the_rows_have_the_fields_of_the_counterfactual_audit_first(accepted: AuditReport) -> None:
    (row,) = counterfactual_rows([accepted])
    assert ",".join(row).startswith(FIELDS)
    assert row["slice_name"] == "all"
    assert row["n_samples"] == 900
    assert row["overall_valid"] is True
    assert all(row[name] is True for name in ("valid_ess", "valid_tails", "valid_control", "sign_consistent"))
    assert row["control_pvalue"] == accepted.placebos[0].adjusted
    assert row["snips_delta"] == accepted.estimates[1].value
    values = [estimate.value for estimate in accepted.estimates]
    assert row["delta_range"] == pytest.approx(max(values) - min(values))


def test_a_slice_without_a_number_has_no_figures_rather_than_zeros() -> None:
    (row,) = counterfactual_rows([audit(table_of(experiment(40)), QUICK, slice_name="small")])
    assert row["overall_valid"] is False
    assert [row[name] for name in ("ess", "valid_ess", "control_pvalue", "snips_delta", "sign_consistent")] == [
        None
    ] * 5
    assert "needs 50" in str(row["reasons"])


def test_the_document_is_strict_json_even_where_the_tail_is_infinite() -> None:
    roles = {"treatment": "item", "outcome": "click", "propensity": "probability", "target": "uniform"}
    report = measure(table_of(bandit(500), **roles), QUICK)
    assert report.overlap is not None
    assert report.overlap.pareto_k == -np.inf
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert document["overlap"]["pareto_k"] == "-Infinity"
    assert document["verdict"] == "ACCEPT"
    assert document["seed"] == 0
    assert document["plan"]["margin"] == 0.25
    assert len(document["input_digest"]) == 64


def test_a_refusal_lists_every_reason_and_gives_no_answer() -> None:
    log = bandit(3000, even=False)
    report = measure(
        table_of(log, treatment="item", outcome="click", propensity="probability", target="uniform"), QUICK
    )
    assert report.effect is None
    assert len(report.reasons) == sum(check.verdict != "PASS" for check in report.checks)
    assert any("ESS/n" in reason for reason in report.reasons)
    assert any("k-hat" in reason for reason in report.reasons)
