"""What one Ray Tune trial of the ANN harvest does: look at a setting through some queries, then measure it with all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from ray import tune

from acgs.learning.finetune.sweep import FINISHED
from acgs.retrieval.candidates import of_both_legs
from acgs.retrieval.fusion import combine
from acgs.retrieval.harvest import LEAST_RECALL, Harvest, Setting, count_hits
from acgs.retrieval.index import open_index
from acgs.retrieval.vectors import best
from acgs.statistics.evidence import Floats
from acgs.statistics.ranking import ndcg
from tune_sweeps.ann_harvest_config import HOPELESS, HarvestConfig, HarvestFigures, HarvestRow, HarvestTrial
from tune_sweeps.ann_harvest_times import write_measured
from tune_sweeps.retrieval_work import BEGUN

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

GRAPHS: Final = "graphs"


@dataclass(frozen=True, slots=True)
class HarvestWork:
    """What all trials work on."""

    config: HarvestConfig
    index: Path
    output: Path
    texts: Sequence[str]
    """Of the queries."""
    vectors: Singles
    """(queries, width)"""
    grades: Sequence[Mapping[str, int]]
    """Grade by document id, by query; empty for a query without judgements."""

    @property
    def first(self) -> int:
        """How many queries a setting is looked at with before it is measured."""
        return max(1, round(self.config.first_share * len(self.texts)))


class LookingHarvest(Harvest):
    """A harvest that can tell a setting's recall on some queries without timing anything."""

    def hits(self, setting: Setting, queries: int) -> tuple[int, int]:
        """Of the documents that exact search ranks first for the first queries: found by the graph, and all."""
        graph = self._open(setting, cold=False)
        truth = self._truth[:queries]
        found = [graph.nearest(query, setting.topk) for query in self._queries[:queries]]
        return int(count_hits(truth, found).sum()), sum(map(len, truth))


class HarvestRun(tune.Trainable):
    """One setting after another. The first step looks; the second, where there still is hope, measures."""

    def setup(self, config: dict[str, Any], *, work: HarvestWork) -> None:  # type: ignore[override]
        """Open the index and search it exactly, once for all settings that this process gets."""
        self._work = work
        self._index = open_index(work.index)
        self._harvest = LookingHarvest(
            self._index.vectors, work.vectors, work.output / GRAPHS, work.config.baseline, rounds=work.config.rounds
        )
        self._exact_p50_ms = float(np.median(self._harvest.exact_ms()))
        self._exact_ndcg = self._ndcg(work.config.baseline.topk, None)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on another setting."""
        self._trial = HarvestTrial.model_validate(new_config["trial"])
        self._looked = False
        return True

    def step(self) -> dict[str, Any]:
        """A look, or the measurement."""
        if not self._looked:
            self._looked = True
            row = self._look()
        else:
            row = self._measure()
        return {"row": row.model_dump(mode="json"), "done": row.ending in (HOPELESS, FINISHED)}

    def _look(self) -> HarvestRow:
        """Hopeless is what would miss the recall even if it found everything for all other queries."""
        setting, work = self._trial.setting, self._work
        found, wanted = self._harvest.hits(setting, work.first)
        most = 1 - (wanted - found) / wanted * work.first / len(work.texts)
        hopeless = self._trial.role == "grid" and most < LEAST_RECALL
        return HarvestRow(
            trial=self._trial,
            ending=HOPELESS if hopeless else BEGUN,
            queries=work.first,
            recall_at_10=found / wanted,
        )

    def _measure(self) -> HarvestRow:
        setting, work = self._trial.setting, self._work
        measured = self._harvest.measure(setting)
        write_measured(work.output, self._trial.number, measured)
        p50, p95, p99 = (float(value) for value in np.quantile(measured.warm_ms, [0.5, 0.95, 0.99]))
        changes = self._ndcg(setting.topk, measured.found) - self._exact_ndcg
        return HarvestRow(
            trial=self._trial,
            ending=FINISHED,
            queries=len(work.texts),
            recall_at_10=measured.recall,
            figures=HarvestFigures(
                jaccard_at_10=float(measured.overlaps.mean()),
                ndcg_delta=float(changes.mean()) if len(changes) else None,
                p50_ms=p50,
                p95_ms=p95,
                p99_ms=p99,
                cold_p50_ms=float(np.median(measured.cold_ms)),
                cold_p95_ms=float(np.quantile(measured.cold_ms, 0.95)),
                paired_p50_change_ms=float(np.median(measured.warm_ms - measured.baseline_warm_ms)),
                sign_match=measured.sign_consistent,
                exact_p50_ms=self._exact_p50_ms,
                build_cpu_seconds=measured.build_seconds,
                memory_bytes=measured.memory_bytes,
            ),
        )

    def _ndcg(self, topk: int, found: Sequence[Ints] | None) -> Floats:
        """nDCG@10 of the judged queries' fused rankings, with what a graph found or with exact search."""
        exact, documents = self._index.exact(), self._index.documents
        values = []
        for row, grades in enumerate(self._work.grades):
            if grades:
                near = exact.nearest(self._work.vectors[row], topk) if found is None else found[row]
                ids = [documents[int(number)].id for number in self._fused(row, near, topk)]
                values.append(ndcg(ids, grades, 10))
        return np.array(values)

    def _fused(self, row: int, near: Ints, topk: int) -> Ints:
        """The first ten document numbers when the dense leg gives `near`, and the leg of words its `topk` best."""
        vector, words = self._work.vectors[row], self._index.lexical.analyse(self._work.texts[row]).words
        by_words = self._index.lexical.words.scores(words)
        legs = of_both_legs(by_words, near, vector, self._index.vectors, topk)
        fused = combine(legs.lexical, legs.dense, legs.floor, self._work.config.tau)
        first: Ints = legs.numbers[best(fused, 10)]
        return first
