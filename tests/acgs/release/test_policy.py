"""What the owner's policy allows, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError, UnavailableError
from acgs.release.model_contract import ModelMargins
from acgs.release.policy import ModelRules, ReleasePolicy
from acgs.release.policy_file import read_policy
from acgs.release.staging.held_out import HeldOutRow, rows_digest
from acgs.release.staging.limits import StagingLimits
from acgs.serving.deployments.record import RampPlan

FILE = """
every_model:
  staging: {compliance: 0.95, memory_mb: 2048}
  fewest_rows: 40
models:
  triage:
    staging: {compliance: 0.97}
    margins: {quality: 0.01}
    waivable: []
"""
RULES = {
    "fewest_rows": st.integers(30, 99),
    "waivable": st.sampled_from([[], ["calibration"]]),
    "staging": st.fixed_dictionaries({}, optional={"compliance": st.sampled_from([0.9, 0.97]), "callers": st.just(2)}),
    "margins": st.fixed_dictionaries({}, optional={"quality": st.sampled_from([0.01, 0.05]), "p95_ms": st.just(7.0)}),
}


def rows(n: int = 120, **more: Any) -> list[HeldOutRow]:
    return [HeldOutRow(id=f"r{number}", input=[number], **{"label": number % 2, **more}) for number in range(n)]


def written(tmp_path: Path, text: str, mode: int = 0o644) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_without_a_file_the_published_limits_and_margins_are_allowed() -> None:
    rules = read_policy(None).rules_for("triage")
    rules.check_staging(StagingLimits(), rows())
    rules.check_contract(ModelMargins(), {"calibration": "too few rows"}, rows(), staged_on=rows_digest(rows()))


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"compliance": 0.89}, "limits.compliance"),
        ({"metrics": {"accuracy": 0.69}}, "limits.metrics.accuracy"),
        ({"metrics": {"f1": 0.99}}, "limits.metrics.accuracy"),
        ({"mean_response_seconds": 11}, "limits.mean_response_seconds"),
        ({"p95_response_seconds": 10.5}, "limits.p95_response_seconds"),
        ({"memory_mb": 1e6}, "limits.memory_mb"),
    ],
)
def test_staging_that_is_looser_than_the_policy_is_refused_with_the_field(limits: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError, match="release policy refuses") as refused:
        ModelRules().check_staging(StagingLimits(**limits), rows())
    assert refused.value.field == field


@pytest.mark.parametrize(("name", "asked"), [("callers", 4), ("requests", 400)])
def test_a_lighter_load_than_the_policy_asks_for_is_refused(name: str, asked: int) -> None:
    rules = ModelRules.model_validate({"staging": {name: asked + 1}})
    with pytest.raises(InvalidInputError) as refused:
        rules.check_staging(StagingLimits(), rows())
    assert refused.value.field == f"limits.{name}"
    rules.check_staging(StagingLimits.model_validate({name: asked + 1}), rows())


@pytest.mark.parametrize(
    ("margins", "waived", "field"),
    [
        ({"quality": 0.06}, {}, "margins.quality"),
        ({"slice_quality": 0.11}, {}, "margins.slice_quality"),
        ({"p95_ms": 101}, {}, "margins.p95_ms"),
        ({"p99_ms": 201}, {}, "margins.p99_ms"),
        ({"calibration_error": 0.11}, {}, "margins.calibration_error"),
        ({}, {"quality, all rows": "we know better"}, "waived"),
        ({}, {"calibration": "too few rows"}, "waived"),
    ],
)
def test_a_contract_that_is_looser_than_the_policy_is_refused_with_the_field(
    margins: dict[str, float], waived: dict[str, str], field: str
) -> None:
    rules = ModelRules(waivable=("quality, slice",))
    with pytest.raises(
        InvalidInputError, match=r"release policy refuses|only these may be waived: quality, slice"
    ) as refused:
        rules.check_contract(ModelMargins(**margins), waived, rows(), staged_on=None)
    assert refused.value.field == field


STRICT_RAMP = {
    "ramp": {"first_step": 10, "observe_seconds": 60, "minimum_requests": 50, "watch_seconds": 600,
             "error_margin": 0.05, "slower_factor": 1.25, "slower_seconds": 0.005, "slow_share": 0.25, "alpha": 0.05}
}  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"steps": (50, 100)}, "plan.steps"),
        ({"steps": (100,)}, "plan.steps"),
        ({"observe_seconds": 59}, "plan.observe_seconds"),
        ({"minimum_requests": 49}, "plan.minimum_requests"),
        ({"watch_seconds": 0}, "plan.watch_seconds"),
        ({"error_margin": 0.9}, "plan.error_margin"),
        ({"slower_factor": 10}, "plan.slower_factor"),
        ({"slower_seconds": 3600}, "plan.slower_seconds"),
        ({"slow_share": 0.9}, "plan.slow_share"),
        ({"alpha": 0.001}, "plan.alpha"),
    ],
)
def test_a_ramp_that_is_looser_than_the_policy_is_refused_with_the_field(plan: dict[str, Any], field: str) -> None:
    rules = ModelRules.model_validate(STRICT_RAMP)
    rules.check_ramp(RampPlan())
    with pytest.raises(InvalidInputError, match="release policy refuses") as refused:
        rules.check_ramp(RampPlan(**plan))
    assert refused.value.field == field


def test_without_a_policy_a_version_may_flip_at_once_but_not_be_let_do_anything() -> None:
    ModelRules().check_ramp(RampPlan(steps=(100,), observe_seconds=0, watch_seconds=0, minimum_requests=1))
    for blind in ({"error_margin": 0.5}, {"slower_factor": 3}, {"slow_share": 0.8}, {"alpha": 1e-6}):
        with pytest.raises(InvalidInputError):
            ModelRules().check_ramp(RampPlan(**blind))


def test_copies_and_rows_without_a_label_are_not_counted_as_held_out_rows() -> None:
    copies = [row.model_copy(update={"id": f"copy of {row.id}"}) for row in rows(90)]
    for found in (rows(99), rows(90) + copies, [*rows(99), HeldOutRow(id="u", input=[-1])]):
        with pytest.raises(InvalidInputError, match="with a label are fewer") as refused:
            ModelRules(fewest_rows=100).check_staging(StagingLimits(), found)
        assert refused.value.field == "rows"


def test_the_rows_that_the_owner_names_must_be_used() -> None:
    wanted, others = rows(), rows(121)
    rules = ModelRules(held_out=rows_digest(wanted))
    rules.check_staging(StagingLimits(), wanted[::-1])
    rules.check_contract(ModelMargins(), {}, wanted, staged_on=None)
    for check in (
        lambda: rules.check_staging(StagingLimits(), others),
        lambda: rules.check_contract(ModelMargins(), {}, others, staged_on=rows_digest(others)),
    ):
        with pytest.raises(InvalidInputError, match="other held-out rows") as refused:
            check()
        assert refused.value.field == "rows"


def test_a_contract_takes_the_rows_of_its_staging_or_those_that_the_owner_names_for_it() -> None:
    staged, others = rows(), rows(121)
    with pytest.raises(InvalidInputError, match="other held-out rows"):
        ModelRules().check_contract(ModelMargins(), {}, others, staged_on=rows_digest(staged))
    named = ModelRules(contract_held_out=rows_digest(others))
    named.check_contract(ModelMargins(), {}, others, staged_on=rows_digest(staged))


def test_labels_for_which_the_policy_states_no_metric_are_refused() -> None:
    rules = ModelRules.model_validate({"staging": {"metrics": {"accuracy": 0.8}}})
    measured = [row.model_copy(update={"label": float(number) + 0.5}) for number, row in enumerate(rows())]
    with pytest.raises(InvalidInputError, match="states no metric"):
        rules.check_staging(StagingLimits(metrics={"r2": 0.9}), measured)


def test_a_model_has_the_rules_of_all_but_for_what_is_its_own(tmp_path: Path) -> None:
    policy = read_policy(written(tmp_path, FILE))
    triage, other = policy.rules_for("triage"), policy.rules_for("intake")
    assert (triage.staging.compliance, triage.staging.memory_mb, triage.fewest_rows) == (0.97, 2048, 40)
    assert (triage.margins.quality, triage.margins.p95_ms, triage.waivable) == (0.01, 100.0, ())
    assert (other.staging.compliance, other.margins.quality) == (0.95, 0.05)
    assert triage.digest() != other.digest()
    assert read_policy(written(tmp_path, policy.model_dump_json())) == policy


def test_the_rules_of_another_model_are_not_part_of_a_models_digest() -> None:
    before = ReleasePolicy()
    after = ReleasePolicy.model_validate({"models": {"intake": {"fewest_rows": 500}}})
    assert before.rules_for("triage").digest() == after.rules_for("triage").digest()
    assert before.rules_for("intake").digest() != after.rules_for("intake").digest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every_model: {fewest_row: 40}", "fewest_row"),
        ("every_model: {fewest_rows: 1}", "fewest_rows"),
        ("every_model: {staging: {compliance: 0.1}}", "compliance"),
        ("every_model: {staging: {metrics: {acuracy: 0.9}}}", "acuracy"),
        ("every_model: {waivable: ['quality, all rows']}", "cannot be waived"),
        (f"every_model: {{held_out: {'a' * 64}}}", "those of one model"),
        ("models: {triage: [1]}", "models.triage"),
        ("models: {Triage!: {}}", "models"),
        ("format: acgs-release-policy/2", "format"),
        ("every_model: {}\nevery_model: {}", "given twice"),
        ("models: {triage: {fewest_rows: 900, fewest_rows: 30}}", "line 1: 'fewest_rows' is given twice"),
        ("every_model: [", "no readable YAML"),
        ("- 1", "policy"),
        ("", "policy"),
        ("\x00", "no readable YAML"),
    ],
)
def test_a_policy_that_cannot_be_read_means_no_and_says_why(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UnavailableError, match=words) as refused:
        read_policy(written(tmp_path, text))
    assert "nothing is staged or promoted" in refused.value.message


def test_a_policy_that_is_not_there_or_that_others_may_write_means_no(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        read_policy(tmp_path / "none.yaml")
    with pytest.raises(UnavailableError, match="directory"):
        read_policy(tmp_path)
    for mode in (0o664, 0o646):
        with pytest.raises(UnavailableError, match="others than its owner may write it"):
            read_policy(written(tmp_path, "{}", mode))
    if os.geteuid():
        with pytest.raises(UnavailableError, match="Permission denied"):
            read_policy(written(tmp_path, "{}", 0o000))


@given(common=st.fixed_dictionaries({}, optional=RULES), own=st.fixed_dictionaries({}, optional=RULES))
def test_a_policy_says_what_it_is_by_its_differences(common: dict[str, Any], own: dict[str, Any]) -> None:
    made = ReleasePolicy.model_validate({"every_model": common, "models": {"triage": own, "intake": {}}})
    told = made.differences()
    assert ReleasePolicy.model_validate(told) == made
    assert told["models"]["intake"] == {}
