"""All parts of T1 over a small made corpus: what is written, and that it holds together."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgs.release.evidence import read_evidence
from acgs.release.guards.coverage import EverySliceCovered
from acgs.release.monitoring_config import read_monitoring_config
from acgs.release.t1.confirmation import Choice, Division
from acgs.release.t1.facts import facts_of
from acgs.release.t1.package import _median, find
from acgs.release.t1.page import page
from acgs.release.t1.promises import coverage
from acgs.release.t1.tuning import fold_numbers
from acgs.release.t1.writing import write_package
from acgs.retrieval.configuration import Route, load_configuration
from acgs.retrieval.corpus import Collection
from acgs.retrieval.encoders import StaticEncoder
from acgs.retrieval.opening import open_searcher
from acgs.retrieval.router.router_file import load_router
from acgs.statistics.evidence import InsufficientDataError
from tests.acgs.release.t1.conftest import QUERIES, Run, made_collection, small_plan
from tests.acgs.retrieval.corpora import write_static_encoder

ARTIFACTS = {
    "router_distilled_int8.json",
    "theta_star_production.json",
    "latency_harvest_config.json",
    "production_monitoring_config.json",
    "T1_release_contract.md",
    "conformal_coverage_report.csv",
    "counterfactual_audit_fixed.csv",
    "regression_gallery.md",
    "report.html",
    "t1_configuration.json",
    "evidence.json",
    "t1_facts.json",
    "pareto.png",
    "gate_curve.png",
    "reliability.png",
    "coverage.png",
}


def read(run: Run, name: str) -> Any:
    return json.loads((run.output / name).read_text(encoding="utf-8"))


def test_every_artifact_is_written_under_its_name(run: Run) -> None:
    assert {path.name for path in run.output.iterdir()} >= ARTIFACTS
    for name in ARTIFACTS:
        assert (run.output / name).stat().st_size > 0


def test_the_artifacts_can_be_read_by_those_who_use_them(run: Run) -> None:
    assert load_router(run.output / "router_distilled_int8.json").feature_names
    assert read_monitoring_config(run.output / "production_monitoring_config.json").triggers
    assert read_evidence(run.output / "evidence.json").digest() == run.found.evidence.digest()
    assert load_configuration(run.output / "t1_configuration.json") == run.found.final.configuration


def test_the_written_configuration_searches_as_the_candidate_did(run: Run, tmp_path: Path) -> None:
    searcher = open_searcher(
        run.output / "t1_index",
        encoder=str(write_static_encoder(tmp_path / "encoder")),
        configuration=run.output / "t1_configuration.json",
        router=run.output / "router_distilled_int8.json",
    )
    sides = run.found.bench.sides(run.found.final)
    for query in list(run.found.collection.queries.values())[:20]:
        assert searcher.search(query).numbers.tolist() == sides.candidate.search(query).numbers.tolist()


def test_every_query_was_answered_by_choices_made_without_it(run: Run) -> None:
    assert [item.query for item in run.found.confirmed] == sorted(run.found.collection.judgements)
    assert {item.fold for item in run.found.confirmed} == {0, 1, 2}
    assert len(run.found.choices) == 3


def test_of_several_divisions_the_median_one_is_judged(run: Run) -> None:
    def changed(change: float) -> Division:
        item = run.found.confirmed[0]
        return Division([replace(item, baseline_ndcg=0.0, candidate_ndcg=change)], [])

    assert [_median([changed(each) for each in order]).change for order in ((0.3, 0.1, 0.2), (0.4, 0.1))] == [0.2, 0.1]
    folds = fold_numbers(QUERIES, 3, run.found.plan.seed), fold_numbers(QUERIES, 3, run.found.plan.seed + 1)
    assert any([item.fold for item in run.found.confirmed] == each.tolist() for each in folds)


def test_the_contract_judges_the_confirmed_changes(run: Run) -> None:
    quality = run.found.evidence.quality
    assert quality is not None
    change = np.array([item.candidate_ndcg - item.baseline_ndcg for item in run.found.confirmed])
    assert quality.deltas == pytest.approx(change)
    assert run.found.contract.evidence_digest == run.found.evidence.digest()
    assert list(run.found.contract.waived) == ["calibration drift"], "no run has what it would need"
    facts = read(run, "t1_facts.json")
    assert facts["quality"]["global"]["change"] == pytest.approx(change.mean())
    assert facts["gate"]["gain"] == pytest.approx(change.mean())
    assert (facts["divisions"], len(facts["chosen_by_fold"])) == (2, 3)
    assert "of 2 divisions" in (run.output / "report.html").read_text(encoding="utf-8")
    assert facts["verdict"] == str(run.found.contract.verdict)


def test_baseline_and_candidate_are_two_systems(run: Run) -> None:
    assert run.found.evidence.baseline.digest != run.found.evidence.candidate.digest


def test_the_theta_document_keeps_the_published_schema(run: Run) -> None:
    document = read(run, "theta_star_production.json")
    parameters = document["parameters"]
    assert document["gating_type"] == "two_stage"
    assert parameters["theta_early_exit"] == pytest.approx(parameters["theta_star"] - parameters["delta"])
    assert document["performance_characteristics"]["expected_cost_ms"] <= run.found.plan.budget_ms + 1e-9
    assert document["performance_characteristics"]["duality_gap"] >= -1e-9


def test_the_harvest_reports_the_seeds_grid_and_a_frontier(run: Run) -> None:
    document = read(run, "latency_harvest_config.json")
    cells = {(item["parameters"]["ef"], item["parameters"]["topk"]) for item in document["seed_grid"]}
    assert cells == {(ef, topk) for ef in (104, 108, 112) for topk in (80, 88, 96)}
    frontier = document["pareto_analysis"]["frontier"]
    recalls = [item["recall_at_10"] for item in frontier]
    assert recalls == sorted(recalls)
    assert document["pareto_analysis"]["frontier_points"] == len(frontier)
    served = document["served"]["parameters"]
    first = run.found.final.configuration.first_stage
    assert (served["ef"], served["topk"], first.ef) == (first.ef, first.topk, run.found.plan.ef)
    overlap = run.found.evidence.overlap
    assert overlap is not None
    assert overlap.jaccard.tolist() == run.found.swept.served.overlaps.tolist()


def test_small_slices_have_no_coverage_that_passes(run: Run) -> None:
    with (run.output / "conformal_coverage_report.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["slice"] for row in rows} == {"global", "hard-NL", "short", "long"}
    for row in rows:
        if row["coverage_percentage"]:
            inside = float(row["target_min"]) <= float(row["coverage_percentage"]) <= float(row["target_max"])
            assert row["in_range"] == str(inside)
    assert "PASS" not in {row["verdict"] for row in rows}


def test_report_and_contract_accept_the_same_coverage(run: Run) -> None:
    copies = range(10)
    confirmed = [replace(item, query=f"{item.query} {copy}") for copy in copies for item in run.found.confirmed]
    slices = {
        name: [f"{query} {copy}" for copy in copies for query in run.found.slices[name]] for name in run.found.slices
    }
    evidence, rows = coverage(confirmed, slices, seed=1)
    judged = EverySliceCovered("coverage").check(run.found.evidence.model_copy(update={"coverage": tuple(evidence)}))
    parts = {part.guard: part for part in judged.parts}
    assert len(rows) == len(parts) == 4
    for row in rows:
        part = parts[f"coverage: {row['slice']}"]
        assert row["verdict"] == str(part.verdict)
        assert part.bound in (row.get("target_min"), row.get("target_max"))


def test_the_gallery_lists_regressions_before_gains(run: Run) -> None:
    text = (run.output / "regression_gallery.md").read_text(encoding="utf-8")
    assert text.index("Worst regressions") < text.index("Largest gains")


def test_the_page_needs_nothing_beside_it(run: Run) -> None:
    text = (run.output / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "http://" not in text
    assert "https://" not in text


def test_two_runs_give_the_same_verdicts_and_choices(run: Run, tmp_path: Path) -> None:
    encoder = StaticEncoder(write_static_encoder(tmp_path / "encoder"))
    again = find(
        made_collection(), encoder, small_plan(), tmp_path / "t1", clock=lambda: datetime(2027, 1, 1, tzinfo=UTC)
    )
    # Costs are measured, so the gate may differ by them; everything before the gate may not.
    assert [item.baseline for item in again.choices] == [item.baseline for item in run.found.choices]
    for mine, other in zip(again.choices, run.found.choices, strict=True):
        assert mine.learned.full.tolist() == other.learned.full.tolist()
    assert [item.baseline_ndcg for item in again.confirmed] == [item.baseline_ndcg for item in run.found.confirmed]


def test_too_few_queries_cannot_be_divided(tmp_path: Path) -> None:
    collection = made_collection()
    few = dict(list(collection.judgements.items())[:4])
    encoder = StaticEncoder(write_static_encoder(tmp_path / "encoder"))
    with pytest.raises(InsufficientDataError, match="judge at least 6"):
        find(
            Collection(collection.documents, collection.queries, few),
            encoder,
            small_plan(),
            tmp_path / "t1",
        )
    assert not (tmp_path / "t1").exists()


def test_queries_and_requests_that_are_too_few_for_bounds_end_in_a_whole_package_that_says_so(tmp_path: Path) -> None:
    whole = made_collection()
    names = sorted(whole.judgements)[:12]
    few = Collection(
        whole.documents, {name: whole.queries[name] for name in names}, {name: whole.judgements[name] for name in names}
    )
    encoder = StaticEncoder(write_static_encoder(tmp_path / "encoder"))
    found = find(few, encoder, small_plan().model_copy(update={"requests": 60}), tmp_path / "t1")
    facts = write_package(found, tmp_path / "t1")
    of_the_router = {"router_distilled_int8.json", "theta_star_production.json", "gate_curve.png"}
    assert {path.name for path in (tmp_path / "t1").iterdir()} >= ARTIFACTS - of_the_router
    assert facts["verdict"] == "INSUFFICIENT"
    assert facts["latency_ms"]["p95_change_ucb95"] is None
    assert "too few different queries" in (tmp_path / "t1" / "report.html").read_text(encoding="utf-8")


def test_all_judged_queries_are_counted(run: Run) -> None:
    assert len(run.found.confirmed) == QUERIES


def test_a_candidate_that_learned_nothing_ranks_as_a_lexical_baseline_does(run: Run) -> None:
    """A query with few words in the corpus must not be filled up with documents that hold none of them."""
    from acgs.release.t1.confirmation import Choice, Workbench, configuration
    from acgs.release.t1.tuning import Routed, learn_rerankers

    bench = run.found.bench
    plan = bench.plan.model_copy(update={"taus": (0.0,)})
    bench = Workbench(bench.indexes, bench.searchers, bench.passes, bench.encoder, plan)
    rows = np.arange(len(run.found.confirmed))
    baseline = bench.baseline(rows)
    learned = learn_rerankers(partial(bench.basis, depth=20), rows, plan)
    useless = replace(learned, gains=-np.abs(learned.gains))
    routed = Routed(None, None, "")
    chosen = configuration(plan, baseline, useless, routed, run.found.costs[20])
    sides = bench.sides(Choice(baseline, useless, routed, chosen))
    for query in [*list(run.found.collection.queries.values())[:10], "unheard words alone", "bank"]:
        assert sides.candidate.search(query).numbers.tolist() == sides.baseline.search(query).numbers.tolist()


def test_page_contract_and_figures_state_one_bound(run: Run) -> None:
    guard = next(part for part in run.found.contract.result.parts if part.guard == "quality, all queries")
    assert read(run, "t1_facts.json")["quality"]["global"]["lcb95"] == pytest.approx(guard.bound)


def test_a_candidate_that_is_the_baseline_changes_nothing_by_construction(run: Run) -> None:
    def bare(choice: Choice) -> Choice:
        return replace(
            choice, configuration=choice.configuration.model_copy(update={"route": Route.FUSED, "gate": None})
        )

    division = replace(run.found.division, choices=[bare(choice) for choice in run.found.choices])
    found = replace(run.found, final=bare(run.found.final), division=division)
    facts = facts_of(found)
    assert facts["candidate_is_baseline"]
    assert {item["lcb95"] for item in facts["quality"].values()} == {0.0}
    assert "so the candidate is the baseline" in page(found, facts, {})
    assert not read(run, "t1_facts.json")["candidate_is_baseline"]


def test_a_query_that_finds_nothing_has_no_relevant_first_passage(run: Run) -> None:
    from acgs.release.t1.promises import forecasts

    nothing = replace(run.found.confirmed[0].candidate, numbers=np.zeros(0, np.int32), scores=np.zeros(0, np.float32))
    confirmed = [replace(run.found.confirmed[0], candidate=nothing), *run.found.confirmed[1:]]
    ids = [document.id for document in run.found.collection.documents]
    found = forecasts(confirmed, run.found.collection.judgements, ids)
    assert found is not None
    assert not found.labels[0]


def test_a_slice_too_small_for_a_promise_keeps_the_guard_from_passing(run: Run) -> None:
    from acgs.release.t1.promises import coverage

    evidence, rows = coverage(run.found.confirmed, {"few": [run.found.confirmed[0].query]}, seed=1)
    assert [row["verdict"] for row in rows] == ["INSUFFICIENT"]
    assert [(item.slice, item.tested_on) for item in evidence] == [("few", 0)]


def test_what_an_interrupted_writing_leaves_is_of_one_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acgs.release.t1 import writing

    output = tmp_path / "t1"
    shutil.copytree(run.output, output)
    assert {path.name for path in output.iterdir() if path.is_file()} <= set(writing.ARTIFACTS)

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "write_configuration", killed)
    with pytest.raises(KeyboardInterrupt):
        writing.write_package(run.found, output)
    assert {path.name for path in output.iterdir() if path.is_file()} <= {writing.ROUTER_FILE, writing.THETA_FILE}
