"""The steps of a deployment: every path ends, and in a 'no' where there is no good evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.audit.receipts import utc_instant
from acgs.release.ramp import BREACHED, FAILED, PROMOTED, ROLLED_BACK, SETTLED, STEPPED, Observation, advance, roll_back
from acgs.release.traffic import TrafficReading, TrafficState
from acgs.serving.deployments.record import Deployment, DeploymentKind, DeploymentStatus, RampPlan, Reference, Stage
from acgs.serving.routing import ModelRoute, Slot

START = datetime(2026, 11, 1, tzinfo=UTC)
QUIET = TrafficReading(TrafficState.QUIET, 500, 0)
NO_DATA = TrafficReading(TrafficState.NO_DATA, 0, 0)
TRIPPED = TrafficReading(TrafficState.TRIPPED, 500, 200)
ROUTE = ModelRoute(blue="1.0.0", green="2.0.0", live=Slot.BLUE)


def deployment(**changes: object) -> Deployment:
    at = utc_instant(START)
    fields: dict[str, object] = {
        "deployment_id": "d",
        "kind": DeploymentKind.PROMOTION,
        "model": "triage",
        "version": "2.0.0",
        "baseline": "1.0.0",
        "slot": Slot.GREEN,
        "status": DeploymentStatus.PROMOTING,
        "stage": Stage.LOADING,
        "stage_since": at,
        "requested_by": "mia",
        "created_at": at,
        "updated_at": at,
    }
    return Deployment.model_validate(fields | changes)


def seen(after: float = 0.0, *, route: ModelRoute = ROUTE, **changes: object) -> Observation:
    fields: dict[str, object] = {
        "ready": True,
        "failure": None,
        "traffic": QUIET,
        "reference": Reference(requests=9, errors=0),
    }
    return Observation(now=START + timedelta(seconds=after), route=route, **(fields | changes))  # type: ignore[arg-type]


def test_a_slot_that_is_ready_gets_the_first_share() -> None:
    move = advance(deployment(), seen())
    assert move is not None
    assert (move.kind, move.deployment.stage, move.deployment.percent) == (STEPPED, Stage.RAMPING, 10)
    assert move.route == ROUTE.model_copy(update={"percent": 10})
    assert move.deployment.reference == Reference(requests=9, errors=0)


def test_a_first_version_and_a_direct_flip_take_everything_at_once() -> None:
    empty = ModelRoute(blue="1.0.0", live=Slot.GREEN)
    first = advance(deployment(baseline=None, slot=Slot.BLUE), seen(route=empty))
    direct = advance(deployment(plan=RampPlan(steps=(100,))), seen())
    for move, slot in ((first, Slot.BLUE), (direct, Slot.GREEN)):
        assert move is not None
        assert (move.kind, move.deployment.stage) == (PROMOTED, Stage.WATCHING)
        assert move.route is not None
        assert move.route.live is slot


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (seen(ready=False, failure="wrong hash"), "wrong hash"),
        (seen(601.0, ready=False), "not ready after 601 s"),
    ],
)
def test_a_version_that_cannot_be_loaded_fails_and_leaves_its_slot(observation: Observation, reason: str) -> None:
    move = advance(deployment(), observation)
    assert move is not None
    assert (move.kind, move.deployment.status, move.deployment.active) == (FAILED, DeploymentStatus.FAILED, False)
    assert reason in move.deployment.reason
    assert move.route == ModelRoute(blue="1.0.0", live=Slot.BLUE)


def test_a_good_step_leads_to_the_next_and_the_last_flips() -> None:
    ramping = deployment(stage=Stage.RAMPING)
    assert advance(ramping, seen(59.0)) is None
    second = advance(ramping, seen(60.0))
    assert second is not None
    assert second.deployment.percent == 50
    flipped = advance(deployment(stage=Stage.RAMPING, step=1), seen(60.0))
    assert flipped is not None
    assert flipped.kind == PROMOTED
    assert flipped.route == ROUTE.model_copy(update={"live": Slot.GREEN})


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (seen(1.0, traffic=TRIPPED), "tripped"),
        (seen(1.0, ready=False), "lost the version"),
        (seen(1.0, failure="out of memory"), "out of memory"),
        (seen(3601.0, traffic=NO_DATA), "no data"),
        (seen(3601.0, traffic=TrafficReading(TrafficState.QUIET, 49, 0)), "too few"),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_a_step_without_good_evidence_goes_back(observation: Observation, reason: str, step: int) -> None:
    move = advance(deployment(stage=Stage.RAMPING, step=step), observation)
    assert move is not None
    assert (move.kind, move.deployment.status) == (ROLLED_BACK, DeploymentStatus.ROLLED_BACK)
    assert reason in move.deployment.reason
    assert move.route == ROUTE


def test_a_breach_while_watching_brings_the_old_version_back() -> None:
    watching = deployment(stage=Stage.WATCHING, status=DeploymentStatus.DEPLOYED)
    flipped = ROUTE.model_copy(update={"live": Slot.GREEN})
    move = advance(watching, seen(5.0, traffic=TRIPPED, route=flipped))
    assert move is not None
    assert (move.kind, move.route) == (ROLLED_BACK, ROUTE)


def test_the_first_version_has_nothing_to_go_back_to_and_says_so() -> None:
    watching = deployment(stage=Stage.WATCHING, status=DeploymentStatus.DEPLOYED, baseline=None)
    move = advance(watching, seen(5.0, traffic=TRIPPED))
    assert move is not None
    assert (move.kind, move.route, move.deployment.status) == (BREACHED, None, DeploymentStatus.DEPLOYED)
    assert "nothing to go back to" in move.deployment.reason


def test_a_watch_ends() -> None:
    watching = deployment(stage=Stage.WATCHING, status=DeploymentStatus.DEPLOYED)
    assert advance(watching, seen(1799.0)) is None
    move = advance(watching, seen(1800.0))
    assert move is not None
    assert (move.kind, move.deployment.stage, move.route) == (SETTLED, Stage.OVER, None)


def test_what_is_over_does_not_move() -> None:
    assert advance(deployment(stage=Stage.OVER), seen(9e6, traffic=TRIPPED)) is None


@given(
    stage=st.sampled_from([Stage.LOADING, Stage.RAMPING, Stage.WATCHING]),
    step=st.integers(0, 1),
    baseline=st.sampled_from([None, "1.0.0"]),
    after=st.floats(0, 1e5),
    ready=st.booleans(),
    failure=st.sampled_from([None, "broken"]),
    state=st.sampled_from(TrafficState),
    requests=st.integers(0, 1000),
)
def test_the_candidate_never_gains_traffic_on_bad_evidence(
    stage, step, baseline, after, ready, failure, state, requests
):  # type: ignore[no-untyped-def]
    if baseline is None and stage is Stage.RAMPING:
        return
    reading = TrafficReading(state, requests, 0)
    going = deployment(stage=stage, step=step, baseline=baseline)
    move = advance(going, seen(after, ready=ready, failure=failure, traffic=reading))
    if move is None or move.route is None:
        return
    gained = move.route.live is Slot.GREEN or move.route.percent > 0
    if gained:
        assert ready
        assert failure is None
        assert stage is Stage.LOADING or (state is not TrafficState.TRIPPED and requests >= going.plan.minimum_requests)


@given(after=st.floats(0, 1e5))
def test_a_person_can_end_every_stage(after: float) -> None:
    now = START + timedelta(seconds=after)
    for stage in (Stage.LOADING, Stage.RAMPING, Stage.WATCHING):
        move = roll_back(deployment(stage=stage), ROUTE, now, "complaints")
        assert not move.deployment.active
        assert move.deployment.reason == "complaints"
        assert move.route is not None
        assert move.route.live is Slot.BLUE
        assert move.route.percent == 0
