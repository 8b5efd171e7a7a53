"""A history tells what the events tell, is whole, and says so to whoever holds the public keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from acgs.audit.entries import Event
from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.keys import SigningKey
from acgs.audit.notes import VerifierKey
from acgs.audit.receipts import utc_instant
from acgs.audit.trust import published_keys
from acgs.errors import IntegrityError
from acgs.mlops import MLOpsManager
from acgs.registry.lifecycle import LifecycleEvent
from acgs.release import promotion
from acgs.release.approvals import sign_approval
from acgs.release.derivation import derive
from acgs.release.documents import sign_document
from acgs.release.foundations import unfounded
from acgs.release.history import Check, ReleaseHistory, sign_history, verify_history
from acgs.release.promotion import Target, begin, go_back
from acgs.release.requirements import Grounds
from acgs.release.trust import JUDGED, STAGED
from acgs.security.roles import Caller, ForbiddenError, Role
from acgs.serving.deployments.documents import Document
from acgs.serving.deployments.record import Approval, DeploymentKind, EvidenceLink, RampPlan
from acgs.serving.replicas import Holding, Phase, ReplicaState
from acgs.serving.routing import Slot
from acgs.settings import Settings
from acgs.storage.transactions import writing

Fields = dict[str, Any]


class Installation:
    """A database, an audit log and keys, with replicas that hold whatever the table wants."""

    def __init__(self, folder: Path) -> None:
        self.manager = MLOpsManager(Settings(state_dir=folder))
        self.key = signing_key(self.manager.settings)

    @property
    def log_keys(self) -> list[VerifierKey]:
        return list(published_keys(audit_directory(self.manager.settings)))

    def document(self, kind: str, version: str, verdict: str = "PASS", *, baseline: str | None = None) -> EvidenceLink:
        made = Document.model_validate(
            {
                "kind": kind,
                "model": "triage",
                "version": version,
                "facts_digest": "a" * 64,
                "constitution_digest": "c" * 64,
                "baseline": baseline,
                "verdict": verdict,
                "body": {},
                "made_by": "mia",
                "made_at": utc_instant(),
            }
        )
        told = STAGED if kind == "staging" else JUDGED
        event = LifecycleEvent(told, "mia", "triage", version, {"document": made.digest(), "baseline": baseline})
        self.manager.deployments.add_document(sign_document(made, self.key), event)
        return EvidenceLink.model_validate({"kind": kind, "digest": made.digest(), "verdict": verdict})

    def approval(self, actor: str, document: str) -> Approval:
        given = Approval(actor=actor, document=document, reason="known bias", at=utc_instant(), token_id=f"{actor}-1")
        return sign_approval(given, self.key)

    def promote(
        self,
        version: str,
        evidence: list[EvidenceLink],
        approvals: tuple[Approval, ...] = (),
        *,
        actor: str,
        watched: bool = False,
        reason: str = "",
    ) -> None:
        target = Target("triage", version, Grounds(tuple(evidence), approvals))
        plan = RampPlan(steps=(100,), watch_seconds=3600 if watched else 0)
        serving = self.manager.serving
        live = promotion.live_version(serving.latest(), "triage")
        begin(self.manager.deployments, serving, target, plan, against=live, actor=actor, reason=reason)
        self.tick()

    def roll_back(self) -> None:
        go_back(self.manager.deployments, self.manager.serving, "triage", actor="noor", reason="complaints")
        self.tick()

    def tick(self) -> None:
        table, now = self.manager.serving.latest(), time.time()
        for slot in Slot:
            held = tuple(
                Holding(model=name, version=version, phase=Phase.READY)
                for name, version in table.wanted_in(slot).items()
            )
            self.manager.serving.report(ReplicaState(f"slot-{slot}", "Slot", slot, table.epoch, now, now, held))
        self.manager.controller.tick()

    def sql(self, statement: str) -> None:
        """What somebody does who can write the database file; triggers are no hindrance to them."""
        with writing(self.manager.serving._engine, "test") as connection:
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            for name in names:
                connection.execute(text(f"DROP TRIGGER {name}"))
            connection.execute(text(statement))

    def check(self, history: ReleaseHistory) -> Check:
        return verify_history(history, self.key.public, self.log_keys)


def live_through(folder: Path) -> Installation:
    """1.0.0 on good evidence; 1.1.0 on a FAIL that two approved; back; 1.1.0 again, on better evidence."""
    made = Installation(folder)
    made.promote("1.0.0", [made.document("staging", "1.0.0")], actor="mia")
    failed = made.document("staging", "1.1.0", "FAIL")
    ada, bob = (made.approval(who, failed.digest) for who in ("ada", "bob"))
    held = made.document("contract", "1.1.0", baseline="1.0.0")
    made.promote("1.1.0", [failed, held], (ada, bob), actor="mia", watched=True)
    made.roll_back()
    made.promote("1.1.0", [made.document("staging", "1.1.0"), held], actor="olu", reason="better evidence")
    return made


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return live_through(tmp_path_factory.mktemp("installation"))


@pytest.fixture(scope="module")
def history(installation: Installation) -> ReleaseHistory:
    return installation.manager.history("triage")


def test_an_honest_history_holds_after_a_journey_as_json(installation: Installation, history: ReleaseHistory) -> None:
    check = installation.check(ReleaseHistory.model_validate_json(history.model_dump_json(indent=1)))
    assert check.holds, check.faults
    assert (check.model, check.documents, check.unproven) == ("triage", 4, 0)


def test_each_span_rests_on_the_deployment_that_brought_its_version(history: ReleaseHistory) -> None:
    by_id = {deployment.deployment_id: deployment for deployment in history.deployments}
    shown = []
    for span in history.live:
        deployment = by_id.get(span.deployment_id or "")
        verdicts = [link.verdict for link in deployment.evidence] if deployment else []
        approvers = [given.actor for given in deployment.approvals] if deployment else []
        shown.append((span.version, span.candidate, span.requested_by, verdicts, approvers))
    assert shown == [
        (None, "1.0.0", "mia", [], []),
        ("1.0.0", None, "mia", ["PASS"], []),
        ("1.0.0", "1.1.0", "mia", ["PASS"], []),
        ("1.1.0", "1.0.0", "mia", ["FAIL", "PASS"], ["ada", "bob"]),
        ("1.0.0", "1.1.0", "noor", ["PASS"], []),
        ("1.1.0", "1.0.0", "olu", ["PASS", "PASS"], []),
    ]
    assert [d.status for d in history.deployments] == ["deployed", "rolled_back", "deployed"]


def _without_rollback(fields: Fields) -> None:
    gone = next(item for item in fields["events"] if item["event"]["kind"] == "release.rolled_back")
    fields["events"].remove(gone)
    fields["live"] = [span for span in fields["live"] if span["epoch"] != gone["event"]["details"]["epoch"]]
    fields["deployments"][1]["status"] = "deployed"


def _emptied(fields: Fields) -> None:
    fields.update(model="intake", live=[], deployments=[], documents=[], events=[])


def _other_model(fields: Fields) -> None:
    fields["model"] = "intake"


def _without_documents(fields: Fields) -> None:
    fields["documents"] = []
    for deployment in fields["deployments"]:
        deployment["evidence"] = []


def _set(*path: Any, to: Any) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        *way, last = path
        found: Any = fields
        for step in way:
            found = found[step]
        assert found[last] != to
        found[last] = to

    return change


FORGERIES: dict[str, Callable[[Fields], None]] = {
    "the version that was live": _set("live", 3, "version", to="9.9.9"),
    "when it began": _set("live", 3, "begins", to="2020-01-01T00:00:00.000000Z"),
    "who did it": _set("live", 4, "actor", to="eve"),
    "who asked for a span": _set("live", 4, "requested_by", to="eve"),
    "on what it rested": _set("live", 3, "deployment_id", to=None),
    "who asked for a deployment": _set("deployments", 1, "requested_by", to="eve"),
    "the plan": _set("deployments", 0, "plan", "observe_seconds", to=1.0),
    "how it ended": _set("deployments", 1, "status", to="deployed"),
    "the reason": _set("deployments", 1, "reason", to="compliments"),
    "a verdict": _set("deployments", 1, "evidence", 0, "verdict", to="PASS"),
    "who approved": _set("deployments", 1, "approvals", 0, "actor", to="eve"),
    "an approval that was never given": lambda fields: fields["deployments"][0]["approvals"].append(
        {**fields["deployments"][1]["approvals"][0], "actor": "eve"}
    ),
    "evidence and documents taken away": _without_documents,
    "a document taken away": lambda fields: fields["documents"].pop(),
    "a deployment taken away": lambda fields: fields["deployments"].pop(1),
    "the rollback taken away": _without_rollback,
    "a span taken away": lambda fields: fields["live"].pop(4),
    "the first event taken away": lambda fields: fields["events"].pop(0),
    "an event told twice": lambda fields: fields["events"].append(fields["events"][-1]),
    "emptied under another name": _emptied,
    "another model's name": _other_model,
    "what an event tells": _set("events", 1, "event", "actor", to="eve"),
    "an event without epoch": lambda fields: fields["events"][1]["event"]["details"].update(epoch=[1]),
}


@pytest.mark.parametrize("what", FORGERIES)
@pytest.mark.parametrize("signed_again", [False, True])
def test_a_forged_history_does_not_hold_even_where_the_database_was_forged_before_it_was_signed(
    installation: Installation, history: ReleaseHistory, what: str, signed_again: bool
) -> None:
    fields = history.model_dump(mode="json")
    FORGERIES[what](fields)
    forged = ReleaseHistory.model_validate(fields)
    if signed_again:
        forged = sign_history(forged, installation.key)
    check = installation.check(forged)
    assert not check.holds
    assert check.faults


def test_a_history_whose_end_was_cut_off_does_not_hold(installation: Installation, history: ReleaseHistory) -> None:
    since = next(n for n, item in enumerate(history.events) if item.event.kind == "release.rolled_back")
    events = history.events[:since]
    live, deployments = derive("triage", [item.event for item in events])
    cut = history.model_copy(update={"events": events, "live": live, "deployments": deployments})
    assert live[-1].version == "1.1.0"
    assert installation.check(cut).faults == ("the history was changed, cut short, or signed by another key",)
    for other in (sign_history(cut, SigningKey.generate()), history.model_copy(update={"signature": ""})):
        assert not installation.check(other).holds


BY_HAND = {
    "a rollback that never was": "DELETE FROM lifecycle_events WHERE kind = 'release.rolled_back'",
    "another requester": 'UPDATE deployments SET body = replace(body, \'"requested_by":"olu"\', '
    '\'"requested_by":"eve"\')',
    "a deployment that never was": "DELETE FROM deployments WHERE number = 2",
    "another version": "UPDATE routing_tables SET body = replace(body, '1.1.0', '6.6.6') WHERE epoch = 4",
    "another actor": "UPDATE routing_tables SET actor = 'eve' WHERE epoch = 5",
    "an event of nobody's": "INSERT INTO lifecycle_events VALUES (99, 'x', 'release.override.approved', 'eve', "
    "'triage', '1.1.0', '{}', '2026-11-21T00:00:00.000000Z', NULL)",
}


@pytest.mark.parametrize("what", BY_HAND)
def test_what_was_done_to_the_database_by_hand_is_found(tmp_path: Path, what: str) -> None:
    installation = live_through(tmp_path)
    assert installation.check(installation.manager.history("triage")).holds
    installation.sql(BY_HAND[what])
    assert installation.check(installation.manager.history("triage")).faults


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"route": None}, "does not tell the route"),
        ({"route": {"blue": "no version"}}, "does not tell the route"),
        ({"epoch": 1}, "do not rise"),
        ({"deployment_id": "unknown"}, "of no deployment"),
        ({"status": "splendid"}, "does not tell of a deployment"),
    ],
)
def test_events_that_tell_no_whole_story_are_refused(history: ReleaseHistory, change: Fields, words: str) -> None:
    events: list[Event] = [item.event for item in history.events]
    at = next(n for n, event in enumerate(events) if event.kind == "release.promoted")
    events[at] = events[at].model_copy(update={"details": {**events[at].details, **change}})
    with pytest.raises(IntegrityError, match=words):
        derive("triage", events)


def test_nobody_approves_without_a_token_whatever_their_role(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    digest = installation.document("staging", "1.0.0", "FAIL").digest
    unproven = installation.manager.acting_as(Caller("ada", frozenset({Role.ADMIN}), None))
    with pytest.raises(ForbiddenError, match="must be proven"):
        unproven.approve(digest, reason="known bias")


def test_a_version_that_replaces_another_needs_a_contract_against_just_that(tmp_path: Path) -> None:
    for number, baseline in enumerate((None, "0.9.0")):
        made = Installation(tmp_path / str(number))
        made.promote("1.0.0", [made.document("staging", "1.0.0")], actor="mia")
        evidence = [made.document("staging", "1.1.0")]
        if baseline:
            evidence.append(made.document("contract", "1.1.0", baseline=baseline))
        made.promote("1.1.0", evidence, actor="mia")
        faults = made.check(made.manager.history("triage")).faults
        assert faults == ("triage 1.1.0 rests on no contract against 1.0.0",)


def test_a_contract_alone_is_no_ground(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.promote("1.0.0", [made.document("contract", "1.0.0", baseline="0.9.0")], actor="mia")
    assert made.check(made.manager.history("triage")).faults == ("triage 1.0.0 rests on no staging",)


@pytest.mark.parametrize("kind", ["staging", "contract"])
def test_a_promotion_that_rests_on_an_older_document_than_the_latest_does_not_hold(tmp_path: Path, kind: str) -> None:
    made = Installation(tmp_path)
    made.promote("1.0.0", [made.document("staging", "1.0.0")], actor="mia")
    baseline = "1.0.0" if kind == "contract" else None
    evidence = [made.document("staging", "1.1.0"), made.document("contract", "1.1.0", baseline="1.0.0")]
    made.document(kind, "1.1.0", "FAIL", baseline=baseline)
    made.promote("1.1.0", evidence, actor="mia")
    (fault,) = made.check(made.manager.history("triage")).faults
    assert f"rests on another {kind}" in fault


def test_documents_of_another_version_or_against_another_or_from_afterwards_change_nothing(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.promote("1.0.0", [made.document("staging", "1.0.0")], actor="mia")
    evidence = [made.document("staging", "1.1.0"), made.document("contract", "1.1.0", baseline="1.0.0")]
    made.document("staging", "1.2.0", "FAIL")
    made.document("contract", "1.1.0", "FAIL", baseline="0.9.0")
    made.promote("1.1.0", evidence, actor="mia", watched=True)
    made.document("staging", "1.1.0", "FAIL")
    made.document("contract", "1.1.0", "FAIL", baseline="1.0.0")
    assert made.check(made.manager.history("triage")).holds


def test_going_back_to_what_was_never_deployed_on_these_grounds_does_not_hold(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.promote("1.0.0", [made.document("staging", "1.0.0")], actor="mia")
    target = Target("triage", "1.1.0", Grounds((made.document("staging", "1.1.0"),), ()))
    plan, table = RampPlan(steps=(100,), watch_seconds=0), made.manager.serving.latest()
    start = promotion._start
    start(made.manager.deployments, table, target, plan, DeploymentKind.ROLLBACK, actor="eve", reason="complaints")
    made.tick()
    (fault,) = made.check(made.manager.history("triage")).faults
    assert "on other grounds" in fault


def test_going_back_after_the_watch_holds_on_the_grounds_from_before(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.promote("1.0.0", [made.document("staging", "1.0.0")], actor="mia")
    evidence = [made.document("staging", "1.1.0"), made.document("contract", "1.1.0", baseline="1.0.0")]
    made.promote("1.1.0", evidence, actor="mia")
    made.document("staging", "1.0.0", "FAIL")
    made.roll_back()
    history = made.manager.history("triage")
    assert history.live[-1].version == "1.0.0"
    assert made.check(history).holds


def test_what_was_live_cannot_be_left_out_to_need_no_contract(history: ReleaseHistory) -> None:
    deployment = history.deployments[1].model_copy(update={"baseline": None})
    events = [item.event for item in history.events]
    missing = unfounded("triage", deployment, history.deployments, events, {})
    assert missing == ["is said to replace nothing, but 1.0.0 was live"]
