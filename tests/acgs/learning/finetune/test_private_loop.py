"""Private training: the budget halts it, a crash is paid for, and raw losses stay inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from acgs.errors import InvalidInputError
from tests.acgs.learning.finetune.test_loop import adapted, options_of, phase_of, weights

if TYPE_CHECKING:
    from acgs.learning.finetune.base_models import Base
    from acgs.learning.finetune.checkpoints import LoopState
    from acgs.learning.finetune.examples import Example
    from acgs.learning.finetune.loop import Progress
    from acgs.privacy.plan import PrivacyPlan
    from acgs.privacy.sql_ledger import SqlLedger

RUN = "run"


class Died(BaseException):
    """Stands in for the death of a process: nothing that settles a reservation runs after it."""


class Watcher:
    def __init__(self, folder: Path, *, die_at: int | None = None) -> None:
        self.seen: list[Progress] = []
        self.saved: list[Path] = []
        self._folder, self._die_at = folder, die_at

    def stepped(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.step == self._die_at:
            raise Died

    def checkpoint_due(self, state: LoopState, save: Any) -> None:
        self.saved.append(self._folder / f"step-{state.step}")
        save(self.saved[-1])

    def stop_reason(self, state: LoopState) -> str | None:
        return None


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    from acgs.privacy.sql_ledger import SqlLedger
    from acgs.storage.engine import open_engine
    from acgs.storage.migrate import upgrade

    engine = open_engine(f"sqlite:///{tmp_path / 'acgs.db'}")
    upgrade(engine)
    return SqlLedger(engine)


@pytest.fixture
def plan(examples: list[Example]) -> PrivacyPlan:
    from acgs.privacy.plan import plan_privacy

    return plan_privacy(
        population=len(examples), expected_batch=6, steps=12, target_epsilon=8.0, delta=1e-5, accountant="rdp"
    )


def settings_of(**changes: Any) -> Any:
    from acgs.learning.finetune.config import PrivacySettings

    return PrivacySettings(accountant="rdp", block=4, **changes)


def run_privately(
    base: Base, examples: list[Example], plan: PrivacyPlan, ledger: SqlLedger, watcher: Watcher, **more: Any
) -> tuple[Any, Any]:
    from acgs.learning.finetune.private_loop import train_privately
    from acgs.privacy.budget import BudgetGuard
    from acgs.privacy.ledger import DataSet

    model = adapted(base, dropout=0.0)
    ledger.open_run(RUN, plan, [DataSet("d" * 64, "people")], owner="test")
    guard = BudgetGuard(ledger, RUN, block=4)
    ending = train_privately(
        model, examples, phase_of(private=True), privacy=settings_of(), plan=plan, options=options_of(),
        observer=watcher, gate=guard, **more,
    )  # fmt: skip
    guard.close()
    return model, ending


def test_a_run_ends_where_its_plan_does_and_tells_no_loss(
    base: Base, examples: list[Example], plan: PrivacyPlan, ledger: SqlLedger, tmp_path: Path
) -> None:
    watcher = Watcher(tmp_path)
    _, ending = run_privately(base, examples, plan, ledger, watcher)
    assert (ending.reason, ending.state.step) == ("finished", plan.steps)
    assert [progress.loss for progress in watcher.seen] == [None] * plan.steps
    assert ending.state.curve == []
    assert len({progress.tokens / progress.step for progress in watcher.seen}) == 1, "drawn batch sizes are private"
    assert ledger.run(RUN).settled == plan.steps


def test_steps_lost_in_a_crash_are_spent_and_shorten_the_rest(
    base: Base, examples: list[Example], plan: PrivacyPlan, ledger: SqlLedger, tmp_path: Path
) -> None:
    with pytest.raises(Died):
        run_privately(base, examples, plan, ledger, Watcher(tmp_path, die_at=5))
    assert ledger.run(RUN).steps_spent == 8, "the second block of four was reserved and never settled"
    watcher = Watcher(tmp_path)
    _, ending = run_privately(base, examples, plan, ledger, watcher, resume=tmp_path / "step-3")
    assert ending.reason == "finished"
    assert ledger.run(RUN).steps_spent == plan.steps
    assert ending.state.step == 3 + plan.steps - 8
    assert watcher.seen[-1].learning_rate == pytest.approx(min(p.learning_rate for p in watcher.seen))


def test_data_of_another_size_than_planned_is_refused(
    base: Base, examples: list[Example], plan: PrivacyPlan, ledger: SqlLedger, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="plan is for 24"):
        run_privately(base, examples[:-1], plan, ledger, Watcher(tmp_path))


def test_private_training_moves_every_adapter_weight(
    base: Base, examples: list[Example], plan: PrivacyPlan, ledger: SqlLedger, tmp_path: Path
) -> None:
    import torch

    before = weights(adapted(base, dropout=0.0))
    model, _ = run_privately(base, examples, plan, ledger, Watcher(tmp_path))
    assert not any(torch.equal(before[name], tensor) for name, tensor in weights(model).items())
