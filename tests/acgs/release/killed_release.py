"""A process that releases, and is killed (kill -9) before or after one step of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from acgs.audit.installation import audit_directory
from acgs.registry.audit_trail import JournalTrail
from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.release.controller import ReleaseController
from acgs.release.promotion import Target, begin, go_back, live_version
from acgs.release.requirements import Grounds
from acgs.serving.deployments.record import RampPlan
from acgs.serving.deployments.sql_store import SqlDeploymentStore
from acgs.serving.sql_store import SqlServingStore
from acgs.settings import Settings
from acgs.storage.engine import open_engine
from tests.killing import die_at

BY_STEPS: Final = RampPlan(steps=(50, 100), observe_seconds=10, minimum_requests=20, watch_seconds=30)
STEPS: Final = (
    "acgs.serving.deployments.sql_store.append_table",
    "acgs.serving.deployments.sql_store.append_event",
    "acgs.serving.deployments.sql_store._carry_out",
    "acgs.registry.lifecycle.carry_over",
    "acgs.registry.audit_trail.JournalTrail.record",
    "acgs.registry.sql_lifecycle.SqlEventLog.mark_audited",
)
"""The parts of a transaction, its end (after `_carry_out`; before `carry_over`), and the way into the audit log."""


def release(what: str, step: str, when: str, *, url: str, state: Path, at: datetime) -> None:
    """Arrange the kill, and do one thing as manager and controller do it: begin, move on, or take back."""
    die_at(step, when)
    from acgs.registry import lifecycle

    engine = open_engine(url)
    deployments, serving = SqlDeploymentStore(engine), SqlServingStore(engine)
    if what == "begin":
        target, live = Target("triage", "1.1.0", Grounds((), ())), live_version(serving.latest(), "triage")
        begin(deployments, serving, target, BY_STEPS, against=live, actor="mia")
    elif what == "go back":
        go_back(deployments, serving, "triage", actor="noor", reason="complaints")
    else:
        ReleaseController(deployments, serving, clock=lambda: at).tick()
    trail = JournalTrail(audit_directory(Settings(state_dir=state)))
    lifecycle.carry_over(SqlEventLog(engine), trail)
