"""What one Ray Tune trial of the gating sweep does: a fold a step, chosen on the others and answered by the search."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray import tune

from acgs.learning.finetune.sweep import FINISHED
from acgs.release.t1.confirmation import choose
from tune_sweeps.gating_config import FoldFigures, GatingRow, GatingTrial, score
from tune_sweeps.gating_work import GatingWork, answer, workbench
from tune_sweeps.retrieval_work import BEGUN


class GatingRun(tune.Trainable):
    """One trial after another, with one workbench."""

    def setup(self, config: dict[str, Any], *, work: GatingWork) -> None:  # type: ignore[override]
        """Open the index, once for all trials that this process gets."""
        self._work = work
        self._bench = workbench(work)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on another trial."""
        self._trial = GatingTrial.model_validate(new_config["trial"])
        self._bench.plan = self._trial.plan(self._work.config.plan)
        self._folds: list[FoldFigures] = []
        return True

    def step(self) -> dict[str, Any]:
        """The next fold."""
        work, trial, fold = self._work, self._trial, len(self._folds)
        times, limits = work.times[trial.depth], work.config.limits
        others = work.training[work.folds != fold]
        choice = choose(self._bench, others, {trial.depth: times.under(trial.p95_margin_ms)})
        costs = times.under(limits.p95_margin_ms).over(choice.baseline.tau)
        answered = answer(self._bench, choice, work.training[work.folds == fold])
        self._folds.append(answered.figures(fold, costs, gated=choice.routed.gate is not None))
        done = len(self._folds) == len(np.unique(work.folds))
        value = score(self._folds, limits, float(costs.late[0]))
        row = GatingRow(trial=trial, ending=FINISHED if done else BEGUN, folds=tuple(self._folds), score=value)
        return {"row": row.model_dump(mode="json"), "fold": len(self._folds), "score": value, "done": done}
