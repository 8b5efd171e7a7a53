"""The gating sweep: what it refuses, how trials are judged, and a sweep that is interrupted, resumed and confirmed."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgs.errors import IntegrityError
from tests.judged_corpus import QUERIES, write_judged_corpus
from tests.tune_sweeps.conftest import StoppedAndResumed, SweepFile, lines
from tune_sweeps.gating import main, prepare, taught_scheduler
from tune_sweeps.gating_config import (
    FoldFigures,
    GatingConfig,
    GatingLimits,
    GatingRow,
    GatingTrial,
    best_of,
    draw,
    keeps_limits,
    mean,
    score,
)
from tune_sweeps.gating_work import GatingWork, RouteTimes, answer, read_times, workbench, write_times

LIMITS = GatingLimits(mean_ms=1.0, p95_margin_ms=1.0)
WIDE = {"mean_ms": 1e6, "p95_margin_ms": 1e6}
SMALL: dict[str, Any] = {
    "space": {"depth": [10, 20], "shrinkage": [0.01, 0.3], "budget_ms": [1e6], "p95_margin_ms": [1e6]},
    "limits": WIDE, "trials": 4, "grace_folds": 1, "cost_queries": 5,
    "plan": {"folds": 3, "inner_folds": 3, "bm25": [{"k1": 1.2, "b": 0.75}], "taus": [0.0, 0.5]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": None}, "corpus"),
        ({"surprise": 1}, "surprise"),
        ({"space": {"depth": []}}, "space.depth"),
        ({"space": {"shrinkage": [0]}}, "space.shrinkage"),
        ({"held_out": 1}, "held_out"),
        ({"grace_folds": 99}, "grace_folds"),
        ({"plan": {"folds": 1}}, "plan.folds"),
        ({"corpus": "nowhere"}, "nowhere"),
        ({"encoder": "nowhere"}, "nowhere"),
        ({"index": "nowhere"}, "no finished index"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_one_sentence(
    sweep_file: SweepFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert main(["--config", str(sweep_file(**changes)), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("acgs: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_output_belongs_to_one_sweep(
    sweep_file: SweepFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sweep.json").write_text('{"sweep": "other", "config_digest": "0"}')
    assert main(["--config", str(sweep_file()), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "another sweep" in capsys.readouterr().err


def test_an_index_of_other_documents_is_refused_and_left_as_it_is(
    sweep_file: SweepFile, judged_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import build_index, open_index
    from tests.acgs.retrieval.corpora import made_documents

    manifest = build_index(made_documents(20, seed=5), open_encoder(str(judged_corpus / "encoder")), tmp_path / "index")
    changed = sweep_file(index=str(tmp_path / "index"))
    assert main(["--config", str(changed), "--output", str(tmp_path / "out")]) == 2
    assert "other documents" in capsys.readouterr().err
    assert open_index(tmp_path / "index").manifest == manifest


def test_queries_of_the_confirmation_are_seen_by_no_trial(sweep_file: SweepFile, tmp_path: Path) -> None:
    prepared = prepare(sweep_file(**SMALL), tmp_path / "out")
    assert not set(prepared.training) & set(prepared.held_out)
    assert len(prepared.training) + len(prepared.held_out) == QUERIES
    assert len(prepared.held_out) == round(0.3 * QUERIES)


def test_a_corpus_that_is_too_small_is_insufficient_and_gets_no_gate(
    sweep_file: SweepFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_judged_corpus(tmp_path / "small", 60)
    config = sweep_file(corpus=str(folder / "corpus"), **SMALL)
    assert main(["--config", str(config), "--output", str(tmp_path / "out"), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "INSUFFICIENT"
    assert "60 judged queries leave 28" in answer["reason"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"sweep.json", "gating_confirmation.json"}


def test_trials_are_drawn_without_repetition_and_alike_each_time() -> None:
    config = GatingConfig(name="a", corpus=Path("c"), trials=10)
    points = [tuple(trial.model_dump(exclude={"number"}).values()) for trial in draw(config)]
    assert len(set(points)) == len(points) == 10
    assert draw(config) == draw(config)
    whole = draw(config.model_copy(update={"trials": 1000}))
    assert len(whole) == 3 * 3 * 3 * 2
    assert set(points) < {tuple(trial.model_dump(exclude={"number"}).values()) for trial in whole}


def figures(gain: float, cost_ms: float = 0.5, late: float = 0.0, queries: int = 10) -> FoldFigures:
    return FoldFigures(fold=0, queries=queries, gain=gain, cost_ms=cost_ms, late=late, fired=0.5, gated=True)


def test_a_gate_past_a_limit_scores_below_every_gate_that_keeps_them() -> None:
    worst = score([figures(-1.0, cost_ms=1.0, late=0.05)], LIMITS, 0.0)
    assert keeps_limits(worst)
    dear, dearer = (score([figures(1.0, cost_ms=cost)], LIMITS, 0.0) for cost in (1.1, 1.2))
    assert dearer < dear < worst
    assert not keeps_limits(dear)
    assert score([figures(1.0, late=0.08)], LIMITS, 0.0) < worst
    assert score([figures(0.3, late=0.08)], LIMITS, 0.08) == 0.3, "the baseline itself is as late"


def test_folds_count_by_their_queries() -> None:
    seen = mean([figures(0.1, queries=30), figures(0.5, queries=10)])
    assert seen.gain == pytest.approx(0.2)
    assert seen.queries == 40


def test_the_best_trial_is_one_that_came_to_its_end_within_the_limits() -> None:
    def row(number: int, *gains: float, cost_ms: float = 0.5) -> GatingRow:
        folds = tuple(figures(gain, cost_ms) for gain in gains)
        return GatingRow(trial=trial(number), ending="", folds=folds, score=score(folds, LIMITS, 0.0))

    ended, stopped, dear = row(0, 0.1, 0.1), row(1, 0.9), row(2, 0.9, 0.9, cost_ms=2.0)
    cheaper = row(3, 0.1, 0.1, cost_ms=0.4)
    assert best_of([ended, stopped, dear], folds=2) == ended
    assert best_of([ended, cheaper], folds=2) == cheaper
    assert best_of([stopped, dear, GatingRow(trial=trial(4), ending="failed: x")], folds=2) is None


def trial(number: int) -> GatingTrial:
    return GatingTrial(number=number, depth=50, shrinkage=0.1, budget_ms=1.0, p95_margin_ms=1.0)


def test_trials_of_an_earlier_start_hold_against_those_of_a_later_one() -> None:
    from types import SimpleNamespace

    config = GatingConfig(name="a", corpus=Path("c"), grace_folds=1, reduction_factor=2)
    times = {50: RouteTimes(base_ms=(1.0, 1.0), depth=50, extra_ms=((0.0, 0.1, 0.2), (0.0, 0.1, 0.2)))}
    rows = [GatingRow(trial=trial(n), ending="", folds=(figures(gain),)) for n, gain in enumerate((0.1, 0.2, 0.3))]
    decisions = {}
    for name, known in (("taught", rows), ("untaught", [])):
        scheduler = taught_scheduler(config, known, times)
        new: Any = SimpleNamespace(trial_id="new")
        scheduler.on_trial_add(None, new)
        decisions[name] = scheduler.on_trial_result(None, new, {"fold": 1, "score": 0.15})
    assert decisions == {"taught": "STOP", "untaught": "CONTINUE"}


def test_a_wider_margin_makes_fewer_queries_late() -> None:
    extra = tuple((0.0, 0.5, 2.0) for _ in range(100))
    times = RouteTimes(base_ms=tuple(np.linspace(1, 2, 100)), depth=20, extra_ms=extra)
    narrow, wide = times.under(0.4), times.under(3.0)
    assert narrow.mean_ms.tolist() == wide.mean_ms.tolist() == pytest.approx([0.0, 0.5, 2.0])
    assert narrow.late[0] == 0
    assert 0 < narrow.late[1] < narrow.late[2]
    assert wide.late.tolist() == [0, 0, 0]


def test_times_of_routes_are_kept_for_the_next_start(tmp_path: Path) -> None:
    times = {20: RouteTimes(base_ms=(1.0,), depth=20, extra_ms=((0.0, 0.1, 0.2),))}
    write_times(tmp_path / "times.json", times)
    assert read_times(tmp_path / "times.json") == times
    (tmp_path / "times.json").write_text('{"20": {}}')
    with pytest.raises(IntegrityError, match="damaged"):
        read_times(tmp_path / "times.json")


def test_a_trial_answers_queries_as_the_driver_does(judged_corpus: Path, sweep_file: SweepFile, tmp_path: Path) -> None:
    from acgs.release.t1.confirmation import choose
    from acgs.release.t1.opening import open_bench

    prepared = prepare(sweep_file(**SMALL), tmp_path / "out")
    plan = prepared.config.plan
    bench = open_bench(
        prepared.collection, prepared.encoder, plan, tmp_path / "index", say=lambda _: None, advance=lambda _: None
    )
    times = {10: RouteTimes(base_ms=(1.0,), depth=10, extra_ms=((0.0, 0.1, 0.2),))}
    legs = {options: index.lexical for options, index in bench.indexes.items()}
    folds = np.arange(len(prepared.training)) % plan.folds
    config = prepared.config.model_copy(update={"plan": bench.plan})
    work = GatingWork(config, tmp_path / "index", legs, bench.passes, prepared.training, folds, times)
    answers = []
    for used in (bench, workbench(work)):
        choice = choose(used, prepared.training, {10: times[10].under(1e6)})
        answers.append(answer(used, choice, prepared.held_out))
    mine, theirs = answers
    for name in ("baseline", "candidate", "full", "routes", "predicted"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    assert mine.candidate.mean() > mine.baseline.mean()


def test_an_interrupted_sweep_goes_on_and_confirms_a_gate_that_can_be_served(
    judged_corpus: Path,
    sweep_file: SweepFile,
    tmp_path: Path,
    stopped_and_resumed: StoppedAndResumed,
) -> None:
    from acgs.retrieval.opening import open_searcher

    config, output = sweep_file(**SMALL), tmp_path / "out"
    answer = stopped_and_resumed("tune_sweeps.gating", config, output, by=signal.SIGINT)
    rows = [GatingRow.model_validate_json(line) for line in lines(output / "trials.jsonl")]
    assert sorted(row.trial.number for row in rows) == [0, 1, 2, 3]
    assert {row.ending for row in rows} <= {"finished", "stopped early by ASHA"}
    assert all((row.ending == "finished") == (len(row.folds) == 3) for row in rows)
    best = best_of(rows, 3)
    assert best is not None
    assert answer["trial"] == best.model_dump(mode="json")

    assert answer["verdict"] == "PASS"
    assert answer["held_out"]["queries"] == round(0.3 * QUERIES)
    assert 0 < answer["guard"]["bound"] < answer["held_out"]["gain"] <= answer["gain_oracle"] + 1e-9
    with (output / "gate_curve.csv").open() as handle:
        curve = [{name: float(value) for name, value in point.items()} for point in csv.DictReader(handle)]
    assert [point["fired"] for point in curve] == pytest.approx(np.arange(len(curve)) / (len(curve) - 1))
    assert curve[-1]["gain"] == pytest.approx(answer["gain_always"])

    theta = json.loads((output / "theta_star_production.json").read_text())
    searcher = open_searcher(
        output / "index",
        encoder=str(judged_corpus / "encoder"),
        configuration=output / "t1_configuration.json",
        router=output / "router_distilled_int8.json",
    )
    gate = searcher.configuration.gate
    assert gate is not None
    assert gate.theta_star == theta["parameters"]["theta_star"]
    assert searcher.search("loan credit").predicted_gain is not None
