"""What a promotion must be able to show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import JsonValue, ValidationError

from acgs.audit.entries import Event
from acgs.audit.key_ring import KeyRing
from acgs.audit.keys import SigningKey
from acgs.audit.receipts import utc_instant
from acgs.errors import IntegrityError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.model_version import VersionFacts
from acgs.release.approvals import approvals_from, sign_approval
from acgs.release.documents import sign_document, verify_document
from acgs.release.policy import ModelRules
from acgs.release.requirements import Case, NotReleasableError, judge
from acgs.release.trust import JUDGED, OVERRIDE, STAGED, Trust
from acgs.serving.deployments.documents import Document, SignedDocument
from acgs.serving.deployments.record import Approval

KEY = SigningKey.generate()
TRUST = Trust(KeyRing(KEY.public))
RULES, ROWS, OTHER_ROWS = ModelRules(), "1" * 64, "2" * 64
FACTS = VersionFacts(
    name="triage",
    version="1.1.0",
    kind="files",
    artifact_digest="a" * 64,
    artifact_bytes=1,
    constitution_digest="c" * 64,
    constitutional_hash="cdd01ef066bc6cf2",
    created_at="2026-11-01T00:00:00.000000Z",
    created_by="mia",
)


def document(kind: str, verdict: str = "PASS", *, key: SigningKey = KEY, **more: object) -> SignedDocument:
    fields: dict[str, object] = {
        "kind": kind,
        "model": "triage",
        "version": "1.1.0",
        "facts_digest": FACTS.digest(),
        "constitution_digest": "c" * 64,
        "policy_digest": RULES.digest(),
        "data_digest": ROWS,
        "baseline": "1.0.0" if kind == "contract" else None,
        "verdict": verdict,
        "body": {"n": 1},
        "made_by": "mia",
        "made_at": utc_instant(),
    }
    return sign_document(Document.model_validate(fields | more), key)


GOOD = Case(FACTS, "1.0.0", "c" * 64, RULES, "mia", [document("staging")], [document("contract")], [])


def approval(actor: str, signed: SignedDocument, *, key: SigningKey = KEY) -> Approval:
    given = Approval(
        actor=actor,
        document=signed.document.digest(),
        reason="known bias of the data",
        at=utc_instant(),
        token_id=f"{actor}-1",
    )
    return sign_approval(given, key)


def test_staging_and_contract_that_pass_are_enough() -> None:
    grounds = judge(GOOD, TRUST)
    assert [(link.kind, link.verdict) for link in grounds.evidence] == [("staging", "PASS"), ("contract", "PASS")]
    assert grounds.approvals == ()


def test_a_first_version_needs_no_contract() -> None:
    grounds = judge(replace(GOOD, baseline=None, contracts=[]), TRUST)
    assert [link.kind for link in grounds.evidence] == ["staging"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (replace(GOOD, staging=[]), "never staged"),
        (replace(GOOD, contracts=[]), "not held against 1.0.0"),
        (replace(GOOD, baseline="0.9.0"), "not held against 0.9.0"),
        (replace(GOOD, constitution_digest="d" * 64), "another constitution"),
        (replace(GOOD, staging=[document("staging", facts_digest="e" * 64)]), "another state"),
        (replace(GOOD, staging=[document("staging", "FAIL"), document("staging")]), "says FAIL"),
        (replace(GOOD, contracts=[document("contract", "INSUFFICIENT")]), "says INSUFFICIENT"),
        (
            replace(GOOD, rules=ModelRules(fewest_rows=101)),
            "staging document .* another release policy",
        ),
        (
            replace(GOOD, contracts=[document("contract", policy_digest="d" * 64)]),
            "'acgs release contract triage@1.1.0'",
        ),
        (
            replace(GOOD, contracts=[document("contract", data_digest=OTHER_ROWS)]),
            "other held-out rows than its st",
        ),
        (replace(GOOD, contracts=[document("contract", data_digest=None)]), "other held-out rows"),
    ],
)
def test_what_is_missing_or_does_not_pass_blocks(case: Case, words: str) -> None:
    with pytest.raises(NotReleasableError, match=words):
        judge(case, TRUST)


def test_a_contract_on_other_rows_than_staging_counts_where_the_policy_names_them() -> None:
    rules = ModelRules(contract_held_out=OTHER_ROWS)
    under = {"policy_digest": rules.digest()}
    staged, held = document("staging", **under), document("contract", data_digest=OTHER_ROWS, **under)
    grounds = judge(replace(GOOD, rules=rules, staging=[staged], contracts=[held]), TRUST)
    assert [link.verdict for link in grounds.evidence] == ["PASS", "PASS"]
    with pytest.raises(NotReleasableError, match="other held-out rows"):
        judge(replace(GOOD, rules=rules, staging=[staged], contracts=[document("contract", **under)]), TRUST)


OLD = {"format": "acgs-release-document/1", "policy_digest": None, "data_digest": None}


def test_a_document_of_the_first_format_verifies_but_no_promotion_rests_on_it() -> None:
    old = document("staging", **OLD)
    assert "policy_digest" not in json.loads(old.document.canonical())
    read = SignedDocument.model_validate_json(old.model_dump_json())
    assert verify_document(read, TRUST) == old.document
    with pytest.raises(NotReleasableError, match="another release policy"):
        judge(replace(GOOD, baseline=None, staging=[old]), TRUST)


def test_what_a_signature_does_not_cover_cannot_be_added_to_a_document() -> None:
    fields = json.loads(document("staging", **OLD).model_dump_json())
    fields["document"] |= {"policy_digest": RULES.digest()}
    with pytest.raises(ValidationError, match="no such field"):
        SignedDocument.model_validate(fields)


def test_a_document_that_was_changed_or_signed_by_another_blocks() -> None:
    signed = document("staging", "FAIL")
    changed = signed.model_copy(update={"document": signed.document.model_copy(update={"verdict": "PASS"})})
    for bad in (changed, document("staging", key=SigningKey.generate())):
        with pytest.raises(IntegrityError):
            judge(replace(GOOD, staging=[bad]), TRUST)


def test_two_others_may_override_together() -> None:
    failed = document("contract", "FAIL")
    case = replace(GOOD, contracts=[failed])
    noor, olu = approval("noor", failed), approval("olu", failed)
    grounds = judge(replace(case, approvals=[noor, olu]), TRUST)
    assert {given.actor for given in grounds.approvals} == {"noor", "olu"}
    assert grounds.evidence[1].verdict == "FAIL"
    not_enough = (
        [noor],
        [noor, noor],
        [noor, approval("mia", failed)],
        [noor, approval("olu", document("contract", "FAIL", body={"n": 2}))],
    )
    for given in not_enough:
        with pytest.raises(NotReleasableError, match="approvers other than who promotes"):
            judge(replace(case, approvals=given), TRUST)


def test_consent_from_before_a_version_was_taken_back_is_used_up() -> None:
    failed = document("contract", "FAIL")
    noor, olu = approval("noor", failed), approval("olu", failed)
    case = replace(GOOD, contracts=[failed], approvals=[noor, olu], taken_back_at=noor.at)
    with pytest.raises(NotReleasableError, match=r"\(1 did; what was given before .* is used up"):
        judge(case, TRUST)
    assert judge(replace(case, approvals=[olu, approval("noor", failed)]), TRUST).approvals


@pytest.mark.parametrize(
    "changed",
    [{"signature": ""}, {"signature": "no base64"}, {"actor": "olu"}, {"token_id": ""}, {"token_id": "2"},
     {"reason": "another"}, {"at": "2020-01-01T00:00:00.000000Z"}],
)  # fmt: skip
def test_an_approval_that_the_installation_did_not_sign_counts_for_nothing(changed: dict[str, str]) -> None:
    failed = document("contract", "FAIL")
    forged = approval("pat", failed).model_copy(update=changed)
    case = replace(GOOD, contracts=[failed], approvals=[approval("noor", failed), forged])
    with pytest.raises(NotReleasableError, match=r"\(1 did; 1 on record without a signature that holds"):
        judge(case, TRUST)
    by_another = replace(case, approvals=[approval(who, failed, key=SigningKey.generate()) for who in ("noor", "olu")])
    with pytest.raises(NotReleasableError, match=r"\(0 did; 2 on record"):
        judge(by_another, TRUST)


def test_rows_that_were_put_into_the_list_of_events_approve_nothing() -> None:
    failed = document("contract", "FAIL")
    digest = failed.document.digest()
    rows = [
        LifecycleEvent(OVERRIDE, who, "triage", "1.1.0", {"document": digest, "reason": "fine"})
        for who in ("noor", "olu")
    ]
    unreadable = LifecycleEvent(OVERRIDE, "pat", "triage", "1.1.0", {"document": [1]})
    case = replace(GOOD, contracts=[failed], approvals=approvals_from([*rows, unreadable]))
    with pytest.raises(NotReleasableError, match=r"\(0 did; 2 on record without a signature"):
        judge(case, TRUST)


@pytest.mark.parametrize("kind", ["staging", "contract"])
def test_a_later_document_that_was_taken_away_is_missed_because_the_events_tell_of_it(kind: str) -> None:
    signed = {"staging": GOOD.staging[0].document, "contract": GOOD.contracts[0].document}
    told_as = {"staging": STAGED, "contract": JUDGED}

    def told(kind: str, digest: str, version: str = "1.1.0", baseline: str | None = None) -> Event:
        details: dict[str, JsonValue] = {"document": digest, "baseline": baseline}
        return LifecycleEvent(told_as[kind], "mia", "triage", version, details).entry()

    honest = [told(which, document.digest(), baseline=document.baseline) for which, document in signed.items()]
    elsewhere = [told(kind, "f" * 64, "1.2.0", signed[kind].baseline), told("contract", "f" * 64, baseline="0.9.0")]
    assert judge(replace(GOOD, events=[*honest, *elsewhere]), TRUST) == judge(GOOD, TRUST)
    later = told(kind, "f" * 64, baseline=signed[kind].baseline)
    with pytest.raises(NotReleasableError, match=f"{kind} document .* is not the latest: f{{64}} was made after it"):
        judge(replace(GOOD, events=[*honest, later]), TRUST)
    assert judge(replace(GOOD, events=[later, *honest]), TRUST) == judge(GOOD, TRUST)
