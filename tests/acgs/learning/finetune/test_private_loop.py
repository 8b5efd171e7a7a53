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
    base: Base,
    examples: list[Example],
    plan: PrivacyPlan,
    ledger: SqlLedger,
    watcher: Watcher,
    *,
    run_id: str = RUN,
    privacy: Any = None,
    **more: Any,
) -> tuple[Any, Any]:
    from acgs.learning.finetune.private_loop import train_privately
    from acgs.privacy.budget import BudgetGuard
    from acgs.privacy.ledger import DataSet

    model = adapted(base, dropout=0.0)
    ledger.open_run(run_id, plan, [DataSet("d" * 64, "people")], owner="test")
    guard = BudgetGuard(ledger, run_id, block=4)
    ending = train_privately(
        model, examples, phase_of(private=True), privacy=privacy or settings_of(), plan=plan, options=options_of(),
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


CAP = 3


def owned(examples: list[Example]) -> list[Example]:
    """Six users; the first has nearly all the rows, all alike, so that they pull in one direction."""
    from dataclasses import replace

    users = ["heavy"] * 19 + [f"user-{number}" for number in range(5)]
    alike = [examples[0]] * 19 + examples[19:]
    return [
        replace(example, record=f"r{number}", user=user)
        for number, (example, user) in enumerate(zip(alike, users, strict=True))
    ]


def user_plan(users: int, **changes: Any) -> PrivacyPlan:
    """Every user is drawn in every step."""
    from acgs.privacy.plan import PrivacyPlan

    values = {
        "population": users, "expected_batch": users, "steps": 1, "noise_multiplier": 3.0, "max_grad_norm": 0.01,
        "accountant": "rdp", "unit": "user", "contribution_cap": CAP, **changes,
    }  # fmt: skip
    return PrivacyPlan(**values)


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each step was about to add noise to."""
    from acgs.learning.dp.randomness import FreshNoise

    seen: list[Any] = []
    add = FreshNoise.add_normal

    def watched(noise: FreshNoise, target: Any, deviation: float) -> None:
        seen.append(target.clone().double())
        add(noise, target, deviation)

    monkeypatch.setattr(FreshNoise, "add_normal", watched)
    return seen


def test_leaving_out_a_user_moves_a_steps_sum_by_at_most_the_clipping_norm(
    base: Base, examples: list[Example], ledger: SqlLedger, tmp_path: Path, sums: list[Any]
) -> None:
    rows, by_user = owned(examples), settings_of(unit="user", contribution_cap=CAP)
    without = [row for row in rows if row.user != "heavy"]
    for run_id, data, users in (("all", rows, 6), ("rest", without, 5)):
        run_privately(base, data, user_plan(users), ledger, Watcher(tmp_path), run_id=run_id, privacy=by_user)
    whole, rest = sums
    # The user's own gradient is longer than the bound, so that all of the bound is used.
    assert float((whole - rest).norm()) == pytest.approx(0.01, rel=1e-4)


def test_the_unit_record_would_let_that_user_move_the_sum_further(
    base: Base, examples: list[Example], ledger: SqlLedger, tmp_path: Path, sums: list[Any]
) -> None:
    rows = owned(examples)
    without = [row for row in rows if row.user != "heavy"]
    for run_id, data in (("all", rows), ("rest", without)):
        plan = user_plan(len(data), unit="record", contribution_cap=None)
        run_privately(base, data, plan, ledger, Watcher(tmp_path), run_id=run_id)
    whole, rest = sums
    assert float((whole - rest).norm()) == pytest.approx(0.19, rel=1e-3)


def test_a_run_counts_users_and_charges_their_population(
    base: Base, examples: list[Example], ledger: SqlLedger, tmp_path: Path
) -> None:
    from acgs.privacy.statement import state_privacy

    by_user = settings_of(unit="user", contribution_cap=CAP)
    plan = user_plan(6, expected_batch=3, steps=4)
    run_privately(base, owned(examples), plan, ledger, Watcher(tmp_path), privacy=by_user)
    statement = state_privacy(ledger, RUN)
    assert statement.sample_rate == 0.5
    assert [item.account for item in statement.composed] == ["d" * 64, "population:people"]
    card = statement.markdown()
    assert "all records of one user, however many; of each user at most 3 are used" in card
    assert "3 expected of 6 users" in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"population": 24}, "plan is for 24 users, the data has 6"), ({"contribution_cap": 9}, "another privacy unit")],
)
def test_a_plan_for_other_users_or_another_cap_is_refused(
    base: Base, examples: list[Example], ledger: SqlLedger, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    by_user = settings_of(unit="user", contribution_cap=CAP)
    plan = user_plan(6, **changes)
    with pytest.raises(InvalidInputError, match=message):
        run_privately(base, owned(examples), plan, ledger, Watcher(tmp_path), privacy=by_user)
