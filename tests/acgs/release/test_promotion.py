"""Promotion and going back, with the real stores and replicas that say what they are told to say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from acgs.errors import InvalidInputError
from acgs.release.controller import ReleaseController
from acgs.release.promotion import (
    NothingToGoBackToError,
    Target,
    begin,
    go_back,
    live_version,
    needed_versions,
)
from acgs.release.requirements import Grounds, NotReleasableError
from acgs.serving.deployments.record import Deployment, DeploymentStatus, RampPlan, Stage
from acgs.serving.deployments.sql_store import SqlDeploymentStore
from acgs.serving.deployments.store import Change, DeploymentBusyError
from acgs.serving.replicas import Holding, Phase, ReplicaState
from acgs.serving.routing import ModelRoute, Slot
from acgs.serving.sql_store import SqlServingStore
from tests.acgs.release.windows import traffic

NOTHING = Grounds((), ())
AT_ONCE = RampPlan(steps=(100,), watch_seconds=0)
BY_STEPS = RampPlan(steps=(50, 100), observe_seconds=10, minimum_requests=20, watch_seconds=30)


class Platform:
    """Stores, a controller with a clock of its own, and replicas that hold what the table wants unless told not to."""

    def __init__(self, engine: Engine) -> None:
        self.serving = SqlServingStore(engine)
        self.deployments = SqlDeploymentStore(engine)
        self.ahead = timedelta()
        self.broken: set[str] = set()
        self.controller = ReleaseController(self.deployments, self.serving, clock=self.now)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def promote(self, version: str, plan: RampPlan = AT_ONCE, reason: str = "") -> Deployment:
        target = Target("triage", version, NOTHING)
        return begin(self.deployments, self.serving, target, plan, against=self.live, actor="mia", reason=reason)

    def roll_back(self, reason: str = "complaints") -> Deployment:
        return go_back(self.deployments, self.serving, "triage", actor="noor", reason=reason)

    def tick(self, seconds: float = 0.0) -> None:
        self.ahead_by(seconds)
        self.controller.tick()

    def ahead_by(self, seconds: float) -> None:
        """Let time pass, after which the replicas report."""
        self.ahead += timedelta(seconds=seconds)
        self._report()

    def deployed(self, version: str, reason: str = "") -> Deployment:
        started = self.promote(version, reason=reason)
        self.tick()
        return self.deployments.get(started.deployment_id)

    @property
    def live(self) -> str | None:
        return live_version(self.serving.latest(), "triage")

    def _report(self) -> None:
        table, now = self.serving.latest(), self.now().timestamp()
        for slot in Slot:
            held = tuple(
                Holding(model=model, version=version, phase=Phase.FAILED, reason="wrong hash")
                if version in self.broken
                else Holding(model=model, version=version, phase=Phase.READY)
                for model, version in table.wanted_in(slot).items()
            )
            self.serving.report(ReplicaState(f"slot-{slot}", f"Slot{slot}", slot, table.epoch, now, now, held))


@pytest.fixture
def platform(engine: Engine) -> Platform:
    return Platform(engine)


def test_versions_take_turns_in_the_slots(platform: Platform) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        assert platform.deployed(version).status is DeploymentStatus.DEPLOYED
        assert platform.live == version
    route = platform.serving.latest().models["triage"]
    assert {route.blue, route.green} == {"1.1.0", "1.2.0"}


def test_what_is_live_cannot_be_promoted_again(platform: Platform) -> None:
    platform.deployed("1.0.0")
    with pytest.raises(InvalidInputError, match="live already"):
        platform.promote("1.0.0")


def test_nothing_is_live_before_the_first_version_is_ready(platform: Platform) -> None:
    platform.promote("1.0.0")
    assert platform.live is None
    platform.tick()
    assert platform.live == "1.0.0"


def test_a_version_that_cannot_be_loaded_changes_nothing_for_callers(platform: Platform) -> None:
    platform.deployed("1.0.0")
    platform.broken.add("1.1.0")
    failed = platform.deployed("1.1.0")
    assert (failed.status, failed.reason) == (DeploymentStatus.FAILED, "the version cannot be served: wrong hash")
    assert platform.live == "1.0.0"
    assert platform.serving.latest().versions() == {("triage", "1.0.0")}


def test_a_ramp_follows_the_traffic(platform: Platform) -> None:
    platform.deployed("1.0.0")
    started = platform.promote("1.1.0", BY_STEPS)
    platform.tick()
    assert platform.serving.latest().models["triage"].percent == 50
    platform.serving.record(traffic("1.0.0", start=platform.now().timestamp(), seconds=9, seed=1))
    platform.serving.record(traffic("1.1.0", start=platform.now().timestamp(), seconds=9, seed=2))
    platform.tick(5.0)
    assert platform.live == "1.0.0"
    platform.tick(6.0)
    assert platform.live == "1.1.0"
    platform.tick(31.0)
    over = platform.deployments.get(started.deployment_id)
    assert (over.status, over.stage) == (DeploymentStatus.DEPLOYED, Stage.OVER)


def test_a_bad_version_goes_back_by_itself(platform: Platform) -> None:
    platform.deployed("1.0.0")
    started = platform.promote("1.1.0", BY_STEPS)
    platform.tick()
    now = platform.now().timestamp()
    platform.serving.record(traffic("1.0.0", start=now, seconds=9, seed=1))
    platform.serving.record(traffic("1.1.0", start=now, seconds=9, errors=0.6, seed=2))
    platform.tick(3.0)
    back = platform.deployments.get(started.deployment_id)
    assert back.status is DeploymentStatus.ROLLED_BACK
    assert "errors" in back.reason
    route = platform.serving.latest().models["triage"]
    assert (platform.live, route.percent) == ("1.0.0", 0)
    # Requests that are under way to it are still answered.
    assert "1.1.0" in (route.blue, route.green)


def test_a_bad_version_goes_back_after_it_took_over(platform: Platform) -> None:
    platform.deployed("1.0.0")
    started = platform.promote("1.1.0", RampPlan(steps=(100,), watch_seconds=60))
    platform.tick()
    assert platform.live == "1.1.0"
    platform.serving.record(traffic("1.1.0", start=platform.now().timestamp(), seconds=9, errors=0.5))
    platform.tick(3.0)
    assert platform.live == "1.0.0"
    assert platform.deployments.get(started.deployment_id).status is DeploymentStatus.ROLLED_BACK


@pytest.mark.parametrize("ticks", [0, 1])
def test_a_person_stops_a_promotion_at_any_step(platform: Platform, ticks: int) -> None:
    platform.deployed("1.0.0")
    platform.promote("1.1.0", BY_STEPS)
    for _ in range(ticks):
        platform.tick()
    ended = platform.roll_back()
    assert (ended.active, ended.reason) == (False, "complaints")
    assert (platform.live, platform.serving.latest().models["triage"].percent) == ("1.0.0", 0)


def test_going_back_again_and_again_never_returns_to_what_was_taken_back(platform: Platform) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        platform.deployed(version)
    platform.roll_back()
    platform.tick()
    assert platform.live == "1.1.0"
    platform.roll_back()
    platform.tick()
    assert platform.live == "1.0.0"
    with pytest.raises(NothingToGoBackToError):
        platform.roll_back()
    platform.deployed("1.2.0", reason="mended")
    platform.roll_back()
    platform.tick()
    assert platform.live == "1.0.0"


def test_what_was_taken_back_goes_out_again_only_with_a_reason(platform: Platform) -> None:
    platform.deployed("1.0.0")
    platform.promote("1.1.0", BY_STEPS)
    platform.tick()
    platform.roll_back("slow")  # on its way
    epoch = platform.serving.epoch()
    with pytest.raises(NotReleasableError, match=r"1\.1\.0 was taken back at .* \(slow\).*--reason") as refused:
        platform.promote("1.1.0", reason=" ")
    assert (refused.value.field, platform.serving.epoch()) == ("reason", epoch)
    assert platform.deployed("1.1.0", "the database was slow, not the model").reason.startswith("the database")
    platform.roll_back("slow again")  # after it was over
    platform.tick()
    assert platform.live == "1.0.0"
    platform.deployed("1.2.0")
    with pytest.raises(NotReleasableError, match="slow again"):
        platform.promote("1.1.0")
    platform.deployed("1.1.0", "found the leak")
    platform.deployed("1.2.0")
    platform.deployed("1.1.0")  # it went out again, and was replaced, not taken back


def test_without_an_earlier_version_there_is_nothing_to_go_back_to(platform: Platform) -> None:
    with pytest.raises(NothingToGoBackToError):
        platform.roll_back()
    platform.deployed("1.0.0")
    epoch = platform.serving.epoch()
    with pytest.raises(NothingToGoBackToError):
        platform.roll_back()
    with pytest.raises(InvalidInputError, match="say why"):
        platform.roll_back(" ")
    assert platform.serving.epoch() == epoch


def test_one_promotion_of_a_model_at_a_time(platform: Platform) -> None:
    platform.deployed("1.0.0")
    platform.promote("1.1.0", BY_STEPS)
    with pytest.raises(DeploymentBusyError):
        platform.promote("1.2.0")


def test_two_controllers_make_each_move_once(platform: Platform) -> None:
    started = platform.promote("1.0.0", RampPlan(steps=(100,), watch_seconds=60))
    other = ReleaseController(platform.deployments, platform.serving, clock=platform.now)
    platform.tick()
    other.tick()
    assert platform.deployments.get(started.deployment_id).revision == 2
    assert platform.serving.epoch() == 2


def test_silent_replicas_are_not_ready(platform: Platform) -> None:
    platform.promote("1.0.0")
    platform._report()
    platform.ahead += timedelta(seconds=60)
    platform.controller.tick()
    assert platform.live is None


def test_a_first_version_that_is_watched_does_not_hold_up_the_second(platform: Platform) -> None:
    platform.promote("1.0.0", RampPlan(steps=(100,), watch_seconds=600))
    platform.tick()
    assert platform.deployed("1.1.0").status is DeploymentStatus.DEPLOYED
    assert platform.live == "1.1.0"


def test_what_was_held_against_another_version_than_is_live_by_now_does_not_go_out(platform: Platform) -> None:
    platform.deployed("1.0.0")
    judged_against = platform.live
    platform.deployed("1.1.0")
    before = platform.serving.latest()
    target = Target("triage", "1.2.0", NOTHING)
    for against in (judged_against, None):
        with pytest.raises(NotReleasableError, match=r"1\.1\.0 is live by now"):
            begin(platform.deployments, platform.serving, target, AT_ONCE, against=against, actor="mia")
    assert platform.serving.latest() == before


def test_a_watch_ends_before_its_time_only_if_told(platform: Platform) -> None:
    platform.deployed("1.0.0")
    platform.promote("1.1.0", RampPlan(steps=(100,), watch_seconds=600))
    platform.tick()
    with pytest.raises(DeploymentBusyError, match="--end-watch"):
        platform.promote("1.2.0")
    target = Target("triage", "1.2.0", NOTHING)
    begin(platform.deployments, platform.serving, target, AT_ONCE, against=platform.live, actor="mia", end_watch=True)
    platform.tick()
    assert platform.live == "1.2.0"
    said = {deployment.version: deployment.reason for deployment in platform.deployments.of_model("triage")}
    assert said == {"1.0.0": "", "1.1.0": "ended by the promotion of 1.2.0", "1.2.0": ""}


def test_what_a_rollback_would_bring_back_is_needed_though_it_left_its_slot(platform: Platform) -> None:
    platform.deployed("1.0.0")
    platform.deployed("1.1.0")
    platform.broken.add("1.2.0")
    platform.deployed("1.2.0")
    assert platform.serving.latest().versions() == {("triage", "1.1.0")}
    assert needed_versions(platform.deployments, platform.serving) == ["triage@1.0.0", "triage@1.1.0"]


class Meddled(SqlDeploymentStore):
    """A store in which somebody else acts before each of the first changes."""

    def __init__(self, engine: Engine, acts: list[Callable[[], object]]) -> None:
        super().__init__(engine)
        self.acts = acts

    def begin(self, change: Change) -> Deployment:
        self._meddle()
        return super().begin(change)

    def change(self, change: Change) -> Deployment:
        self._meddle()
        return super().change(change)

    def _meddle(self) -> None:
        if self.acts:
            self.acts.pop(0)()


def test_routes_of_other_models_that_change_in_between_stop_neither_a_promotion_nor_a_rollback(engine: Engine) -> None:
    platform = Platform(engine)
    platform.deployed("1.0.0")

    def of_another_model() -> None:
        models = platform.serving.latest().models
        platform.serving.append({**models, "intake": ModelRoute(blue=f"1.{len(models)}.0")}, actor="ina", reason="x")

    platform.deployments = Meddled(engine, [of_another_model] * 3)
    assert platform.promote("2.0.0").stage is Stage.LOADING
    platform.tick()
    platform.deployments = Meddled(engine, [of_another_model] * 3)
    platform.roll_back()
    platform.tick()
    assert platform.live == "1.0.0"


def test_a_rollback_that_another_one_forestalled_does_not_go_back_one_version_too_far(engine: Engine) -> None:
    platform = Platform(engine)
    for version in ("1.0.0", "2.0.0"):
        platform.deployed(version)
    platform.promote("3.0.0", BY_STEPS)
    platform.tick()
    platform.deployments = Meddled(engine, [Platform(engine).roll_back])
    with pytest.raises(NothingToGoBackToError, match=r"3\.0\.0 is neither under way nor live"):
        platform.roll_back()
    platform.tick()
    assert platform.live == "2.0.0"
    with pytest.raises(NothingToGoBackToError):
        go_back(platform.deployments, platform.serving, "triage", actor="noor", reason="x", only="3.0.0")


def test_a_watch_that_ends_in_between_does_not_stop_a_rollback(engine: Engine) -> None:
    platform = Platform(engine)
    platform.deployed("1.0.0")
    platform.promote("2.0.0", RampPlan(steps=(100,), watch_seconds=30))
    platform.tick()
    assert platform.live == "2.0.0"
    platform.ahead_by(60)
    platform.deployments = Meddled(engine, [platform.controller.tick])
    platform.roll_back()
    platform.tick()
    assert platform.live == "1.0.0"


def test_a_rollback_ends_a_ramp_that_takes_a_step_in_between(engine: Engine) -> None:
    platform = Platform(engine)
    platform.deployed("1.0.0")
    started = platform.promote("2.0.0", BY_STEPS)
    platform._report()
    platform.deployments = Meddled(engine, [platform.controller.tick])
    over = platform.roll_back()
    assert (over.deployment_id, over.status) == (started.deployment_id, DeploymentStatus.ROLLED_BACK)
    assert platform.live == "1.0.0"
