"""Whoever releases may be killed at any moment: what is in force is the old or the new, and the next one goes on."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.log import AuditLog
from acgs.audit.sequencer import sequence
from acgs.registry.audit_trail import JournalTrail
from acgs.registry.lifecycle import carry_over
from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.release.promotion import live_version
from acgs.serving.deployments.record import Deployment, DeploymentStatus, Stage
from acgs.serving.routing import ModelRoute
from acgs.settings import Settings
from tests.acgs.release.killed_release import BY_STEPS, STEPS, release
from tests.acgs.release.test_promotion import Platform
from tests.acgs.release.windows import traffic

PATIENCE_SECONDS = 120
OLD, NEW = "1.0.0", "1.1.0"

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([release.__module__])


def nothing(platform: Platform) -> None:
    """The older version is live, and nothing is under way."""


def loading(platform: Platform) -> None:
    platform.promote(NEW, BY_STEPS)


def ramping(platform: Platform, *, errors: float = 0.0) -> None:
    loading(platform)
    platform.tick()
    start = platform.now().timestamp()
    platform.serving.record(traffic(OLD, start=start, seconds=9, seed=1))
    platform.serving.record(traffic(NEW, start=start, seconds=9, seed=2, errors=errors))


def failing(platform: Platform) -> None:
    ramping(platform, errors=0.6)


def watching(platform: Platform) -> None:
    ramping(platform)
    platform.tick(11.0)


def watched_and_failing(platform: Platform) -> None:
    watching(platform)
    start = platform.now().timestamp()
    platform.serving.record(traffic(NEW, start=start, seconds=9, seed=3, errors=0.6))


MOVES: dict[str, tuple[Callable[[Platform], None], str, float]] = {
    "begin": (nothing, "begin", 0.0),
    "the first step": (loading, "tick", 0.0),
    "the flip": (ramping, "tick", 11.0),
    "the rollback of a step": (failing, "tick", 3.0),
    "the rollback of what is live": (watched_and_failing, "tick", 3.0),
    "the end": (watching, "tick", 31.0),
    "a person's rollback": (watching, "go back", 0.0),
}
"""What is done, from what state, and how many seconds later."""


def agrees(deployment: Deployment | None, route: ModelRoute) -> bool:
    """Whether the routing table is the one that goes with a deployment."""
    if deployment is None:
        return (route.version_in(route.live), route.percent) == (OLD, 0)
    shown = (route.live is deployment.slot, route.percent)
    if deployment.stage is Stage.LOADING:
        return shown == (False, 0) and route.version_in(deployment.slot) == deployment.version
    if deployment.stage is Stage.RAMPING:
        return shown == (False, deployment.percent)
    return shown == (deployment.status is DeploymentStatus.DEPLOYED, 0)


@pytest.fixture
def platform(engine: Engine) -> Platform:
    return Platform(engine)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.rsplit(".", 1)[1])
@pytest.mark.parametrize("move", MOVES)
def test_a_kill_at_any_step_leaves_the_old_or_the_new_and_the_next_one_goes_on(
    platform: Platform, engine: Engine, tmp_path: Path, move: str, step: str, when: str
) -> None:
    prepare, what, seconds = MOVES[move]
    settings = Settings(state_dir=tmp_path / "state")
    platform.deployed(OLD)
    prepare(platform)
    platform.ahead_by(seconds)
    before, revision = platform.serving.latest(), _revision(platform)

    killed = _CONTEXT.Process(
        target=release, args=(what, step, when),
        kwargs={
            "url": engine.url.render_as_string(hide_password=False), "state": settings.state_dir, "at": platform.now(),
        },
    )  # fmt: skip
    killed.start()
    killed.join(PATIENCE_SECONDS)
    untouched = step.endswith("append_table") and move == "the end"
    assert killed.exitcode == (0 if untouched else -9)

    after, moved = platform.serving.latest(), _revision(platform) - revision
    assert moved in (0, 1)
    assert after.epoch - before.epoch == (0 if move == "the end" else moved)
    assert moved or after == before
    assert agrees(_newest(platform), after.models["triage"])

    _go_on(platform)
    events = SqlEventLog(engine).events()
    told = [event.details["epoch"] for event in events if "epoch" in event.details]
    assert told == list(range(1, platform.serving.epoch() + 1)), "each table is told of, once"
    assert all(
        sum(event.details["deployment_id"] == found.deployment_id for event in events) == found.revision
        for found in platform.deployments.of_model()
    )

    audit = audit_directory(settings)
    carry_over(SqlEventLog(engine), JournalTrail(audit))
    sequence(audit, signing_key(settings))
    logged = Counter(json.loads(entry)["event_id"] for entry in AuditLog.open(audit.log).entries())
    assert logged == {event.event_id: 1 for event in events}


def _newest(platform: Platform) -> Deployment | None:
    return next((found for found in platform.deployments.of_model() if found.version == NEW), None)


def _revision(platform: Platform) -> int:
    found = _newest(platform)
    return 0 if found is None else found.revision


def _go_on(platform: Platform) -> None:
    """Another controller ends what is under way, and another version can be promoted."""
    for _ in range(10):
        platform.tick(35.0)
        if not platform.deployments.active():
            break
        start = platform.now().timestamp()
        for version in (OLD, NEW):
            platform.serving.record(traffic(version, start=start, seconds=9))
    assert platform.deployments.active() == []
    route = platform.serving.latest().models["triage"]
    assert agrees(_newest(platform), route)
    assert platform.deployed("1.2.0").status is DeploymentStatus.DEPLOYED
    assert live_version(platform.serving.latest(), "triage") == "1.2.0"
