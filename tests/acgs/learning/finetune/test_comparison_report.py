"""A comparison's table says what the runs' reports say, and 'no data' where they say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from acgs.learning.finetune.comparison_report import Result


def side(perplexity: float, solved: int | None, *, judged: bool = True) -> dict[str, Any]:
    from acgs.learning.finetune.evaluation import Compliance, OverRefusal, PeakMemory, proportion
    from acgs.learning.finetune.task_accuracy import TaskScores

    tasks = None
    if solved is not None:
        share = proportion(solved, 10)
        tasks = TaskScores(accuracy=share, multiple_choice=share, exact_match=proportion(0, 0)).model_dump()
    compliance = Compliance(
        judge="<guard>",
        answers=8,
        compliant=proportion(6, 8),
        by_rules=proportion(8, 8),
        by_principle={"honesty": proportion(7, 8)},
        refused=proportion(1, 8),
        empty=0,
    )
    return {
        "perplexity": perplexity,
        "tasks": tasks,
        "compliance": compliance.model_dump() if judged else None,
        "over_refusal": OverRefusal(refused=proportion(2, 8), empty=0).model_dump() if judged else None,
        "peak_memory": PeakMemory(resident=300 << 20, cuda=None).model_dump(),
    }


def report(*, solved: int | None = 4, epsilon: float | None = None, judged: bool = True) -> dict[str, Any]:
    privacy = None
    if epsilon is not None:
        figures = {"rdp": epsilon, "prv": None}
        spent = {"account": "d" * 64, "runs": 2, "target_epsilon": 9.0, "delta": 1e-5, "epsilon": figures}
        plan = {"delta": 1e-5, "noise_multiplier": 1.5}
        privacy = {"epsilon": figures, "plan": plan, "composed": [spent]}
    return {
        "name": "small", "base": "tiny", "seed": 3, "acgs_version": "1", "constitution_digest": "c" * 64,
        "run_id": "run-1", "config_digest": "f" * 64, "data": [{"id": "a" * 64, "phase": "sft", "rows": 9}],
        "ending": "sft: finished.", "trainable_share": 0.025, "training_seconds": 12.5,
        "trainable_parameters": 25, "total_parameters": 1000, "validation_seconds": 1.0, "validation_share": 0.08,
        "measured_on_private_rows": True,
        "adapter_bytes": None,
        "phases": [{"tokens": 900, "seconds": 10.0}, {"tokens": 100, "seconds": 2.5}], "privacy": privacy,
        "before": side(50.0, 5 if solved is not None else None, judged=judged),
        "after": side(20.0, solved, judged=judged),
    }  # fmt: skip


def result(**reports: dict[str, Any]) -> Result:
    from acgs.learning.finetune.comparison_report import collect

    return collect(reports, comparison_digest="e" * 64, coverage="Nobody is covered.", name="<small>")


def table(found: Result) -> dict[str, tuple[str, ...]]:
    from acgs.learning.finetune.comparison_report import rows

    return {row[0]: row[1:] for row in rows(found)}


def test_base_and_variants_stand_side_by_side() -> None:
    found = table(result(sft=report(), dp=report(epsilon=3.5)))
    assert found["Perplexity, held out"] == ("50.00", "20.00", "20.00")
    assert found["Tasks solved, n = 10"][0].startswith("0.500 [")
    assert found["… kept of the base's accuracy"] == ("-", "80.0 %", "80.0 %")
    assert found["Answers that comply, n = 8"][1].startswith("0.750 [")
    assert found["… by the rules alone, n = 8"][1].startswith("1.000 [")
    assert found["Benign prompts refused, n = 8"][2].startswith("0.250 [")
    assert found["Epsilon"] == ("-", "no guarantee", "3.500 (RDP)")
    assert found["Trainable parameters"] == ("-", "2.50 %", "2.50 %")
    assert found["Target tokens a second"] == ("-", "80", "80")
    assert found["Peak memory, MiB"] == ("300", "300", "300")
    assert found["Training, s"] == ("-", "12.5", "12.5")


def test_what_was_not_measured_is_no_data_and_not_nought() -> None:
    from acgs.learning.finetune.comparison_report import principle_rows

    nothing = result(sft=report(solved=None, judged=False))
    found = table(nothing)
    assert found["Tasks solved"] == ("no data", "no data")
    assert found["… kept of the base's accuracy"] == ("-", "no data")
    assert found["Answers that comply"] == ("no data", "no data")
    assert found["Benign prompts refused"] == ("no data", "no data")
    assert principle_rows(nothing) == []


def test_principles_that_nobody_breached_can_be_left_out() -> None:
    from acgs.learning.finetune.comparison_report import principle_rows
    from acgs.learning.finetune.evaluation import proportion

    some = report()
    some["after"]["compliance"]["by_principle"]["patience"] = proportion(8, 8).model_dump()
    some["before"]["compliance"]["by_principle"]["patience"] = proportion(8, 8).model_dump()
    found = result(sft=some)
    assert [row[0] for row in principle_rows(found)] == ["honesty", "patience"]
    assert [row[0] for row in principle_rows(found, breached_only=True)] == ["honesty"]


def test_spending_is_that_of_the_run_that_saw_the_others() -> None:
    found = result(first=report(epsilon=3.0), last=report(epsilon=5.0), plain=report())
    assert [item.epsilon.rdp for item in found.spent] == [5.0]
    assert result(plain=report()).spent == ()


def test_the_result_is_written_as_json_and_as_a_page_that_escapes(tmp_path: Path) -> None:
    from acgs.learning.finetune.comparison_report import Result, write_result

    found = result(sft=report(), dp=report(epsilon=3.5))
    write_result(tmp_path, found)
    assert Result.model_validate(json.loads((tmp_path / "comparison.json").read_bytes())) == found
    page = (tmp_path / "comparison.html").read_text()
    for expected in (
        "&lt;small&gt;",
        "&lt;guard&gt;",
        "Nobody is covered.",
        "<svg",
        "honesty",
        'href="dp/report.html"',
    ):
        assert expected in page
    assert "<guard>" not in page
    write_result(tmp_path, result(sft=report(solved=None, judged=False)))
    assert "Compliance by principle" not in (tmp_path / "comparison.html").read_text()


@pytest.mark.parametrize("n", [1, 9, 12, 21, 64])
def test_shares_of_none_and_of_all_can_be_drawn(n: int) -> None:
    from acgs.learning.finetune.comparison_report import chart_svg
    from acgs.learning.finetune.evaluation import proportion

    for count in (0, n):
        drawn = report()
        drawn["after"]["tasks"]["accuracy"] = proportion(count, n).model_dump()
        assert chart_svg(result(sft=drawn)).startswith("<svg")


@pytest.mark.parametrize(("base", "trained", "kept"), [(5, 4, 0.8), (5, 0, 0.0), (0, 4, None), (None, None, None)])
def test_accuracy_kept_is_a_ratio_unless_the_base_solves_nothing(
    base: int | None, trained: int | None, kept: float | None
) -> None:
    from acgs.learning.finetune.report import accuracy_kept

    assert accuracy_kept({"before": side(1, base), "after": side(1, trained)}) == kept


def test_speed_is_over_all_phases_and_unknown_where_no_step_ran() -> None:
    from acgs.learning.finetune.report import tokens_per_second

    assert tokens_per_second(report()) == 80.0
    assert tokens_per_second({"phases": [{"tokens": 0, "seconds": 0.0}]}) is None


def test_a_runs_report_and_card_show_the_tasks_the_refusals_and_the_memory(tmp_path: Path) -> None:
    from acgs.learning.finetune.card import model_card
    from acgs.learning.finetune.report import write_report

    write_report(tmp_path, report(), [])
    held = json.loads((tmp_path / "report.json").read_bytes())
    assert (held["accuracy_kept"], held["tokens_per_second"]) == (0.8, 80.0)
    page = (tmp_path / "report.html").read_text()
    for expected in ("Tasks solved", "Benign prompts refused", "80.0 % is kept", "Peak memory, resident", "300"):
        assert expected in page
    card = model_card(report(), None)
    assert "| tasks solved | 0.500 [" in card
    assert "| benign prompts refused | 0.250 [" in card
    assert "80.0 % is kept" in card
    bare = model_card(report(solved=None, judged=False), None)
    assert "| tasks solved | no data | no data |" in bare
    assert "kept" not in bare
