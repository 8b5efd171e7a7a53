"""The ANN harvest: what it refuses, what it looks at, what a trial measures, and a sweep that is killed and resumed."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from acgs.errors import IntegrityError, UnavailableError
from acgs.retrieval.harvest import SEED_GRID, Setting
from acgs.retrieval.vectors import GraphOptions
from tests.tune_sweeps.conftest import StoppedAndResumed, SweepFile, lines
from tune_sweeps.ann_harvest import Prepared, main, prepare
from tune_sweeps.ann_harvest_config import HOPELESS, HarvestConfig, HarvestRow, HarvestTrial, grid
from tune_sweeps.ann_harvest_report import harvested, show
from tune_sweeps.retrieval_work import latest, waiting
from tune_sweeps.sweep_folder import Journal, claim

AT = datetime(2026, 11, 21, tzinfo=UTC)
SMALL = {
    "baseline": {"ef": 64, "topk": 10, "graph": {"connectivity": 4, "expansion_add": 8, "dtype": "i8"}},
    "efs": [10, 64], "topks": [50], "connectivities": [16], "expansions": [200], "dtypes": ["f16"], "rounds": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": None}, "name a corpus"),
        ({"name": None}, "name"),
        ({"surprise": 1}, "surprise"),
        ({"efs": [0]}, "efs"),
        ({"efs": []}, "efs"),
        ({"dtypes": ["f64"]}, "dtypes"),
        ({"baseline": {"ef": 16, "topk": 5}}, "topk"),
        ({"corpus": "nowhere"}, "nowhere"),
        ({"encoder": "nowhere"}, "nowhere"),
        ({"index": "nowhere"}, "no finished index"),
        ({"queries": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_harvested_is_refused_in_one_sentence(
    sweep_file: SweepFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert main(["--config", str(sweep_file(**changes)), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("acgs: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_judgements_of_unknown_documents_are_refused(
    sweep_file: SweepFile, judged_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "asked"
    asked.mkdir()
    (asked / "queries.jsonl").write_bytes((judged_corpus / "corpus" / "queries.jsonl").read_bytes())
    (asked / "qrels.tsv").write_text("q0\tnobody\t1\n")
    assert main(["--config", str(sweep_file(queries=str(asked))), "--output", str(tmp_path / "out")]) == 2
    assert "document nobody" in capsys.readouterr().err


def test_an_output_belongs_to_one_sweep(
    sweep_file: SweepFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(sweep_file(), tmp_path / "out")
    claim(prepared.output, prepared.name, prepared.digest)
    assert prepare(sweep_file(), tmp_path / "out").name == prepared.name
    assert main(["--config", str(sweep_file(rounds=2)), "--output", str(tmp_path / "out")]) == 2
    assert "another sweep" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["--config", str(sweep_file()), "--output", str(tmp_path / "file")]) == 2
    assert "no folder" in capsys.readouterr().err
    (tmp_path / "out" / "sweep.json").write_text("{")
    assert main(["--config", str(sweep_file()), "--output", str(tmp_path / "out")]) == 2
    assert "damaged" in capsys.readouterr().err


def test_looking_whether_a_harvest_can_start_writes_nothing(
    sweep_file: SweepFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(sweep_file(**SMALL)), "--output", str(tmp_path / "out"), "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == len(prepare(sweep_file(**SMALL), tmp_path).trials)
    assert not (tmp_path / "out").exists()


def test_the_grid_holds_baseline_and_seed_grid_and_each_setting_once() -> None:
    config = HarvestConfig(name="a", corpus=Path("c"))
    trials = grid(config)
    settings = [trial.setting for trial in trials]
    assert len(set(settings)) == len(settings)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert [trial.setting for trial in trials if trial.role == "baseline"] == [config.baseline]
    assert {(t.setting.ef, t.setting.topk) for t in trials if t.role == "seed grid"} == set(SEED_GRID)
    graphs = [setting.graph for setting in settings]
    assert sum(before != after for before, after in pairwise(graphs)) == len(set(graphs)) - 1


def test_without_every_combination_a_setting_changes_one_thing_beside_ef() -> None:
    config = HarvestConfig(name="a", corpus=Path("c"))
    usual = config.baseline
    for trial in grid(config):
        setting = trial.setting
        fields = [(setting.topk, usual.topk)]
        fields += [(getattr(setting.graph, name), getattr(usual.graph, name)) for name in GraphOptions.model_fields]
        assert sum(mine != theirs for mine, theirs in fields) <= 1


def test_every_combination_is_the_whole_product() -> None:
    config = HarvestConfig(name="a", corpus=Path("c"), every_combination=True, efs=(256, 300), expansions=(100,))
    assert sum(trial.role == "grid" for trial in grid(config)) == 2 * 3 * 1 * 3 * 5


def test_of_the_efs_below_topk_which_all_search_alike_one_is_measured() -> None:
    config = HarvestConfig(name="a", corpus=Path("c"), efs=(16, 32, 64, 128), topks=(50,))
    efs = [trial.setting.ef for trial in grid(config) if trial.setting.topk == 50]
    assert efs == [32, 64, 128]


@pytest.fixture(scope="module")
def measure(judged_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., HarvestRow]:
    """Runs a trial in this process, as far as it goes."""
    from acgs.retrieval.corpus import read_collection
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import build_index
    from tune_sweeps.ann_harvest_trial import HarvestRun, HarvestWork

    folder = tmp_path_factory.mktemp("harvest")
    collection = read_collection(judged_corpus / "corpus")
    encoder = open_encoder(str(judged_corpus / "encoder"))
    build_index(collection.documents, encoder, folder / "index")
    texts = list(collection.queries.values())
    vectors = encoder.encode(texts).vectors

    def run(setting: Setting, role: str = "grid", *, number: int = 0, judged: bool = True) -> HarvestRow:
        grades = [collection.judgements[query] if judged else {} for query in collection.queries]
        config = HarvestConfig(name="a", corpus=Path("c"), rounds=1)
        trial = object.__new__(HarvestRun)  # without Tune's own parts
        fields = HarvestTrial.model_validate({"number": number, "setting": setting, "role": role})
        work = HarvestWork(config, folder / "index", folder, texts, vectors, grades)
        trial.setup({"trial": fields.model_dump(mode="json")}, work=work)
        for _ in range(2):
            result = trial.step()
            if result["done"]:
                break
        return HarvestRow.model_validate(result["row"])

    run.folder = folder  # type: ignore[attr-defined]
    return run


POOR = Setting(graph=GraphOptions(connectivity=4, expansion_add=8, dtype="i8"), ef=10, topk=10)


def test_a_setting_that_can_no_longer_reach_the_recall_is_stopped_after_its_first_queries(
    measure: Callable[..., HarvestRow],
) -> None:
    stopped, whole = measure(POOR), measure(POOR, "seed grid")
    assert (stopped.ending, whole.ending) == (HOPELESS, "finished")
    assert stopped.figures is None
    assert stopped.queries == round(0.5 * whole.queries)
    assert whole.recall_at_10 is not None
    assert whole.recall_at_10 < 0.99


def test_a_setting_that_finds_what_exact_search_finds_changes_no_ranking(measure: Callable[..., HarvestRow]) -> None:
    row = measure(Setting(ef=256, topk=100))
    assert row.recall_at_10 == 1.0
    assert row.figures is not None
    assert row.figures.ndcg_delta == 0.0
    assert row.figures.jaccard_at_10 == 1.0


def test_fewer_candidates_are_seen_in_the_ranking(measure: Callable[..., HarvestRow]) -> None:
    row = measure(Setting(ef=256, topk=10))
    assert row.figures is not None
    assert row.figures.ndcg_delta is not None
    assert row.figures.ndcg_delta < 0


def test_the_choice_is_worked_out_from_the_kept_times(
    measure: Callable[..., HarvestRow], capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = HarvestConfig(name="a", corpus=Path("c"), rounds=1), measure.folder  # type: ignore[attr-defined]
    rows = [
        measure(config.baseline, "baseline", number=0),
        measure(Setting(ef=104, topk=80), "seed grid", number=1),
        measure(Setting(ef=32, topk=50), number=2),
        measure(POOR, number=3),
    ]
    document = harvested(folder, config, rows, version="a", at=AT)
    assert document.optimal_parameters is not None
    assert document.optimal_parameters.topk == config.baseline.topk, "another topk is reported, not chosen"
    assert {point.parameters.topk for point in document.measured} == {100, 50}
    assert [point.parameters.ef for point in document.seed_grid] == [104]
    for point, row in zip((*document.measured, *document.seed_grid), (rows[0], rows[2], rows[1]), strict=True):
        assert row.figures is not None
        assert (point.p50_ms, point.p95_ms, point.p99_ms) == pytest.approx(
            (row.figures.p50_ms, row.figures.p95_ms, row.figures.p99_ms)
        )
    show(document, rows)
    assert "4 settings, 1 of them not measured to the end" in capsys.readouterr().out

    with pytest.raises(UnavailableError, match="baseline"):
        harvested(folder, config, rows[1:], version="a", at=AT)
    (folder / "measured" / "0000.safetensors").unlink()
    with pytest.raises(IntegrityError, match="0000"):
        harvested(folder, config, rows, version="a", at=AT)


def test_without_judged_queries_nothing_is_said_of_ndcg(
    measure: Callable[..., HarvestRow], capsys: pytest.CaptureFixture[str]
) -> None:
    config = HarvestConfig(name="a", corpus=Path("c"))
    row = measure(config.baseline, "baseline", number=9, judged=False)
    assert row.figures is not None
    assert row.figures.ndcg_delta is None
    document = harvested(measure.folder, config, [row], version="a", at=AT)  # type: ignore[attr-defined]
    assert math.isnan(document.measured[0].ndcg_delta)
    assert "not known" in document.pareto_analysis.selection_reason
    assert document.constraints is not None
    assert not document.constraints.ndcg_non_negative
    show(document, [row])
    assert "not judged" in capsys.readouterr().out


def row(number: int, ending: str) -> HarvestRow:
    trial = HarvestTrial(number=number, setting=Setting(ef=16 + number, topk=10), role="grid")
    return HarvestRow(trial=trial, ending=ending, queries=1, recall_at_10=None)


def test_a_line_that_a_kill_cut_off_is_left_out_and_written_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path, HarvestRow)
    journal.append(row(0, "finished"))
    with journal.path.open("ab") as handle:
        handle.write(b'{"trial":{"num')
    assert journal.rows() == [row(0, "finished")]
    journal.append(row(1, "finished"))
    assert journal.rows() == [row(0, "finished"), row(1, "finished")]


def test_a_line_of_something_else_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path, HarvestRow)
    journal.path.write_text("{}\n")
    with pytest.raises(IntegrityError, match="damaged"):
        journal.rows()


def test_a_failed_trial_is_tried_again_and_its_last_line_holds() -> None:
    trials = [row(number, "").trial for number in range(3)]
    rows = [row(0, "finished"), row(1, "failed: no disk")]
    assert [trial.number for trial in waiting(trials, rows)] == [1, 2]
    assert latest([*rows, row(1, "finished")])[1].ending == "finished"


def test_an_index_with_queries_is_enough(judged_corpus: Path, sweep_file: SweepFile, tmp_path: Path) -> None:
    from acgs.retrieval.corpus import read_documents
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import build_index

    build_index(read_documents(judged_corpus / "corpus"), open_encoder(str(judged_corpus / "encoder")), tmp_path / "i")
    queries = judged_corpus / "corpus" / "queries.jsonl"
    prepared = prepare(sweep_file(corpus=None, index=str(tmp_path / "i"), queries=str(queries)), tmp_path / "out")
    assert isinstance(prepared, Prepared)
    assert prepared.documents is None
    assert prepared.judgements == {}
    with pytest.raises(ValidationError, match="name a corpus"):
        HarvestConfig(name="a", index=tmp_path / "i")


def test_a_killed_harvest_goes_on_and_measures_no_setting_twice(
    sweep_file: SweepFile, tmp_path: Path, stopped_and_resumed: StoppedAndResumed
) -> None:
    config, output = sweep_file(**SMALL), tmp_path / "out"
    answer = stopped_and_resumed("tune_sweeps.ann_harvest", config, output, by=signal.SIGKILL)
    rows = [HarvestRow.model_validate_json(line) for line in lines(output / "trials.jsonl")]
    assert sorted(row.trial.number for row in rows) == [trial.number for trial in prepare(config, output).trials]
    assert {row.ending for row in rows} == {"finished", HOPELESS}
    assert len(answer["seed_grid"]) == len(SEED_GRID)
    assert answer["constraints"]["least_recall"] == 0.99
    assert answer == json.loads((output / "latency_harvest_config.json").read_text())
    assert main(["--config", str(config), "--output", str(output)]) == 0, "nothing is left to run"
