from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acgs.causal import AuditPlan, AuditReport, Roles, audit, audit_by_slice, measure, tabulate
from acgs.causal.reading import drop_gaps, read_columns
from acgs.errors import InvalidInputError
from tests.acgs.causal.logs import QUICK, bandit, experiment, joined, observed, table_of

BANDIT = {"treatment": "item", "outcome": "click", "propensity": "probability"}


def _failed(report: AuditReport) -> set[str]:
    return {reason.split(":")[0].split(" ", 1)[1] for reason in report.reasons}


@pytest.fixture(scope="module")
def of_experiment() -> AuditReport:
    return audit(table_of(experiment(), covariates=("school",), negative_controls=("before",)), QUICK)


@pytest.fixture(scope="module")
def of_joined() -> AuditReport:
    roles = {"outcome": "re78", "covariates": ("age", "educ", "black", "re74"), "negative_controls": ("re75",)}
    return audit(table_of(joined(), **roles), QUICK.model_copy(update={"estimand": "att"}))


def test_an_experiment_of_900_rows_is_accepted_and_its_effect_recovered(of_experiment: AuditReport) -> None:
    assert of_experiment.accepted, of_experiment.reasons
    assert of_experiment.effect is not None
    assert of_experiment.effect.lower < 1.0 < of_experiment.effect.upper
    assert of_experiment.randomisation is not None
    assert of_experiment.randomisation.p_value == pytest.approx(1 / 200)
    assert of_experiment.n == 900


def test_treated_people_joined_with_a_foreign_population_are_refused_for_overlap_and_for_the_past(
    of_joined: AuditReport,
) -> None:
    assert not of_joined.accepted
    assert of_joined.effect is None
    assert {"effective_sample_size", "negative_control"} <= _failed(of_joined)
    assert of_joined.estimates, "what was estimated stays in the report, as evidence"


def test_trimming_to_where_the_populations_overlap_leaves_too_few_to_speak_of_the_log() -> None:
    roles = {"outcome": "re78", "covariates": ("age", "educ", "black", "re74")}
    report = measure(table_of(joined(), **roles), QUICK.model_copy(update={"trim": 0.1}))
    assert "common_support" in _failed(report)
    assert report.dropped_share is not None
    assert report.dropped_share > 0.5


def test_a_measured_cause_is_adjusted_for_and_the_crude_difference_is_not_the_answer() -> None:
    columns = observed(600)
    report = audit(table_of(columns, covariates=("need", "other"), negative_controls=("before",)), QUICK)
    assert report.accepted, report.reasons
    assert report.effect is not None
    assert report.effect.lower < 1.0 < report.effect.upper
    treated = columns["treatment"] == 1
    crude = columns["outcome"][treated].mean() - columns["outcome"][~treated].mean()
    assert crude < report.effect.lower


def test_a_hidden_cause_is_refused_by_what_the_arm_cannot_have_changed_though_overlap_is_perfect() -> None:
    report = audit(table_of(observed(hidden=True), negative_controls=("before",)), QUICK)
    assert _failed(report) == {"negative_control"}
    assert report.reasons[0].startswith("FAIL")


def test_hidden_causes_that_nothing_tests_are_refused_unless_someone_vouches_and_that_is_written_down() -> None:
    table = table_of(experiment())
    refused = audit(table, QUICK)
    assert _failed(refused) == {"negative_control"}
    assert refused.reasons[0].startswith("INSUFFICIENT")
    vouched = audit(table, QUICK.model_copy(update={"assume_unconfounded": True}))
    assert vouched.accepted, vouched.reasons
    assert "vouched for" in vouched.assumptions[0]


def test_a_sample_too_small_to_show_that_the_past_is_alike_is_refused_for_that() -> None:
    report = audit(table_of(experiment(110, seed=1), negative_controls=("before",)), QUICK)
    assert _failed(report) == {"negative_control"}
    assert report.reasons[0].startswith("INSUFFICIENT")


def test_an_arm_with_few_rows_is_refused_without_a_number() -> None:
    report = audit(table_of(experiment(60), covariates=("age",), negative_controls=("before",)), QUICK)
    assert _failed(report) == {"enough_data"}
    assert report.estimates == ()


def test_logged_propensities_that_are_right_hold_and_wrong_ones_are_found() -> None:
    columns = observed(1200, seed=1)
    roles = {"covariates": ("other", "need"), "propensity": "chance"}
    right = measure(table_of(columns, **roles), QUICK)
    assert right.accepted, right.reasons
    # The probability of treatment, where that of the arm taken is asked for.
    of_treatment = np.where(columns["treatment"] == 1, columns["chance"], 1 - columns["chance"])
    wrong = measure(table_of(columns | {"chance": of_treatment}, **roles), QUICK)
    assert "mean_weight" in _failed(wrong)


@pytest.mark.parametrize("apart", [np.array(["nord", "sud"]), np.array([2020.0, 2021.0])], ids=["text", "number"])
def test_a_covariate_that_tells_the_arm_is_refused_though_it_does_not_vary_within_arms(apart: np.ndarray) -> None:
    columns = experiment(600) | {"chance": np.full(600, 0.5)}
    columns["site"] = apart[columns["treatment"].astype(int)]
    roles = {"covariates": ("site", "age"), "propensity": "chance"}
    report = measure(table_of(columns, **roles), QUICK)
    assert "balance" in _failed(report)
    alone = measure(table_of(columns, covariates=("site",)), QUICK)
    assert not alone.accepted


def test_an_experiment_in_many_small_strata_is_accepted_though_some_have_one_arm_by_chance() -> None:
    rng = np.random.default_rng(0)
    treated = rng.random(800) < 0.25
    columns = {
        "treatment": treated.astype(float),
        "outcome": treated + rng.standard_normal(800),
        "cell": np.array([f"c{number}" for number in rng.integers(0, 80, 800)]),
        "chance": np.where(treated, 0.25, 0.75),
    }
    report = audit(table_of(columns, strata=("cell",), propensity="chance"), QUICK)
    assert report.accepted, report.reasons
    assert report.dropped_share == 0
    assert report.one_armed_strata


def test_logged_propensities_do_not_excuse_trimming_most_of_the_log_away() -> None:
    rng = np.random.default_rng(0)
    chance = np.where(rng.random(2000) < 0.7, 0.05, 0.5)
    treated = rng.random(2000) < chance
    columns = {
        "treatment": treated.astype(float),
        "outcome": treated + rng.standard_normal(2000),
        "chance": np.where(treated, chance, 1 - chance),
    }
    report = measure(table_of(columns, propensity="chance"), QUICK.model_copy(update={"trim": 0.1}))
    assert "common_support" in _failed(report)
    assert report.dropped_share == pytest.approx(0.7, abs=0.05)


def test_logged_propensities_do_not_excuse_strata_that_have_one_arm_by_rule() -> None:
    rng = np.random.default_rng(0)
    cell = rng.integers(0, 40, 800)
    treated = cell % 2 == 1
    columns = {
        "treatment": treated.astype(float),
        "outcome": treated + rng.standard_normal(800),
        "cell": cell.astype(float),
        "chance": np.full(800, 0.5),
    }
    report = measure(table_of(columns, strata=("cell",), propensity="chance"), QUICK.model_copy(update={"bins": 40}))
    assert not report.accepted
    assert report.effect is None


def test_rows_that_have_no_like_in_an_arm_are_seen_though_its_weights_look_perfect() -> None:
    """Nobody over 50 is treated; those who are, are all alike."""
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, 1500)
    columns = {
        "treatment": ((age < 50) & (rng.random(1500) < 0.5)).astype(int),
        "age": age,
        "outcome": rng.standard_normal(1500),
    }
    report = measure(table_of(columns, covariates=("age",)), QUICK)
    assert report.overlap is not None
    assert report.overlap.effective_share > 0.5
    assert "mean_weight" in _failed(report)


def test_a_stratum_with_one_arm_is_dropped_and_counted_and_the_rest_is_judged() -> None:
    columns = experiment(800) | {"language": np.repeat(["en", "de", "fi", "en"], 200)}
    columns["treatment"] = np.where(columns["language"] == "fi", 0, columns["treatment"])
    report = measure(table_of(columns, strata=("language",), covariates=("age",)), QUICK)
    assert report.dropped_share == pytest.approx(0.25)
    assert report.one_armed_strata == 1
    assert report.randomisation is not None
    assert report.randomisation.strata == 2
    assert report.accepted, report.reasons


def test_strata_are_adjusted_for_by_every_method() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 4, 1000)
    treated = rng.random(1000) < np.array([0.2, 0.4, 0.6, 0.8])[level]
    columns = {"treatment": treated.astype(int), "level": level, "outcome": 3.0 * level + rng.standard_normal(1000)}
    report = measure(table_of(columns, strata=("level",)), QUICK)
    for estimate in report.estimates:
        assert estimate.lower < 0.0 < estimate.upper, estimate.method


def test_an_even_log_values_a_mild_policy_and_one_that_nearly_always_did_the_same_does_not() -> None:
    log = bandit()
    policy = np.tile(np.linspace(0.5, 1.5, 8) / 8, (len(log["item"]), 1))
    mild = audit(tabulate(log, Roles.model_validate(BANDIT), policy=policy), QUICK)
    assert mild.accepted, mild.reasons
    assert mild.effect is not None
    gain = float(policy[0] @ np.linspace(0.05, 0.4, 8)) - np.linspace(0.05, 0.4, 8).mean()
    assert mild.effect.lower < gain < mild.effect.upper
    lone = audit(table_of(bandit(4000, even=False), **BANDIT, target="uniform"), QUICK)
    assert "effective_sample_size" in _failed(lone)


def test_target_probability_on_arms_that_were_never_logged_is_refused() -> None:
    log = bandit()
    policy = np.full((len(log["item"]), 8), 0.7 / 8)
    report = measure(tabulate(log, Roles.model_validate(BANDIT), policy=policy), QUICK)
    assert {"support", "mean_weight"} <= _failed(report)


def test_many_arms_without_a_target_policy_cannot_be_compared() -> None:
    with pytest.raises(InvalidInputError, match="name a target policy"):
        audit(table_of(bandit(200), **BANDIT), QUICK)


def test_an_interval_wider_than_the_plan_allows_is_no_answer() -> None:
    plan = QUICK.model_copy(update={"most_half_width": 0.01})
    report = measure(table_of(experiment(), covariates=("age",)), plan)
    assert _failed(report) == {"precision"}


def test_each_slice_is_judged_by_itself_after_the_whole() -> None:
    columns = experiment(500) | {"market": np.where(np.arange(500) < 440, "large", "small")}
    reports = audit_by_slice(table_of(columns, slice="market"), QUICK)
    assert [report.slice_name for report in reports] == ["all", "large", "small"]
    assert [report.n for report in reports] == [500, 440, 60]
    assert _failed(reports[2]) == {"enough_data"}


def test_the_same_table_and_seed_give_the_same_report(of_experiment: AuditReport) -> None:
    first, again = (measure(table_of(experiment(300), covariates=("age", "school")), QUICK) for _ in range(2))
    assert first.document() == again.document()
    assert first.input_digest != of_experiment.input_digest


def test_the_published_weight_gain_after_smoking_is_recovered(shared_data: Path) -> None:
    """Hernan and Robins, What If, program 12.2: 3.4 kg (2.4 to 4.5); the crude difference is 2.5 kg."""
    names = ("sex", "race", "age", "education", "smokeintensity", "smokeyrs", "exercise", "active", "wt71")
    columns, dropped = drop_gaps(read_columns(shared_data / "nhefs" / "NHEFS.csv", (*names, "qsmk", "wt82_71")))
    roles = Roles(treatment="qsmk", outcome="wt82_71", covariates=names)
    report = measure(tabulate(columns, roles))
    assert (report.n, dropped) == (1566, 63)
    assert report.accepted, report.reasons
    assert report.effect is not None
    assert report.effect.value == pytest.approx(3.4, abs=0.25)
    assert report.effect.lower < 3.4 < report.effect.upper
    assert report.effect.lower > 1.5


def test_a_known_effect_in_4802_births_is_held_by_the_interval_where_overlap_is_good(shared_data: Path) -> None:
    folder = shared_data / "acic_challenge_2016"
    columns = read_columns(folder / "x.csv", ("*",)) | read_columns(folder / "zy_3.csv", ("z", "y"))
    report = measure(tabulate(columns, Roles(treatment="z", outcome="y", covariates=("x_*",))))
    assert report.accepted, report.reasons
    assert report.effect is not None
    assert report.effect.lower < 4.752 < report.effect.upper


def test_births_of_which_two_fifths_could_never_be_treated_are_refused(shared_data: Path) -> None:
    folder = shared_data / "acic_challenge_2016"
    columns = read_columns(folder / "x.csv", ("*",)) | read_columns(folder / "zy_1.csv", ("z", "y"))
    report = measure(tabulate(columns, Roles(treatment="z", outcome="y", covariates=("x_*",))), AuditPlan(folds=2))
    assert {"balance", "mean_weight"} <= _failed(report)


def test_a_log_of_evenly_shown_items_values_a_mild_policy(shared_data: Path) -> None:
    names = ("item_id", "click", "propensity_score")
    columns = read_columns(shared_data / "open_bandit" / "random" / "men" / "men.csv", names)
    taste = np.exp(0.5 * np.random.default_rng(0).standard_normal(34))
    policy = np.tile(taste / taste.sum(), (10_000, 1))
    roles = Roles(treatment="item_id", outcome="click", propensity="propensity_score")
    report = audit(tabulate(columns, roles, policy=policy), QUICK)
    assert report.accepted, report.reasons
