"""Attempts are counted before anything is measured, whoever sets out and whenever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from acgs.audit.receipts import utc_instant
from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.serving.deployments.attempts import Attempt, AttemptsSpentError
from acgs.serving.deployments.sql_attempts import SqlAttemptStore

STAGING = Attempt("staging", "triage", "1.0.0", "a" * 64, "mia")


@pytest.fixture
def attempts(engine: Engine) -> SqlAttemptStore:
    return SqlAttemptStore(engine)


def test_the_same_files_go_on_counting_under_a_new_name_and_for_another_person(attempts: SqlAttemptStore) -> None:
    renamed = replace(STAGING, version="1.0.1", actor="noor")
    assert [attempts.begin(one, most=9) for one in (STAGING, renamed, STAGING)] == [1, 2, 3]


@pytest.mark.parametrize("other", [{"kind": "contract"}, {"model": "intake"}, {"artifact_digest": "b" * 64}])
def test_other_documents_models_and_files_count_for_themselves(
    attempts: SqlAttemptStore, other: dict[str, str]
) -> None:
    attempts.begin(STAGING, most=9)
    assert attempts.begin(replace(STAGING, **other), most=9) == 1


def test_where_a_model_counts_as_one_other_files_pay_too_but_have_their_own_limit(attempts: SqlAttemptStore) -> None:
    other, elsewhere = replace(STAGING, artifact_digest="b" * 64), replace(STAGING, model="intake")
    one_by_one = [STAGING, other, STAGING, elsewhere, replace(other, kind="contract")]
    assert [attempts.begin(one, most=2, beside_since="") for one in one_by_one] == [1, 2, 3, 1, 1]
    with pytest.raises(AttemptsSpentError, match="had 2 attempts"):
        attempts.begin(STAGING, most=2, beside_since="")
    assert attempts.begin(other, most=2, beside_since="") == 4


def test_of_other_files_only_what_began_since_counts_and_of_the_same_files_everything(
    attempts: SqlAttemptStore,
) -> None:
    other = replace(STAGING, artifact_digest="b" * 64)
    for one in (STAGING, other, other):
        attempts.begin(one, most=9, beside_since="")
    now = utc_instant()
    third = replace(STAGING, artifact_digest="c" * 64)
    assert [attempts.begin(one, most=9, beside_since=now) for one in (third, STAGING, other)] == [1, 2, 4]


def test_beyond_as_many_as_the_policy_allows_there_is_none_and_nothing_is_told(
    attempts: SqlAttemptStore, engine: Engine
) -> None:
    for _ in range(2):
        attempts.begin(STAGING, most=2)
    with pytest.raises(AttemptsSpentError, match="had 2 attempts at staging, and the release policy allows 2"):
        attempts.begin(STAGING, most=2)
    assert len(SqlEventLog(engine).events()) == 2
    assert attempts.begin(STAGING, most=3) == 3


def test_what_is_given_back_is_free_again_and_on_record(attempts: SqlAttemptStore, engine: Engine) -> None:
    first, second = attempts.begin(STAGING, most=9), attempts.begin(STAGING, most=9)
    attempts.give_back(STAGING, first, reason="the process died")
    assert [attempts.begin(STAGING, most=9) for _ in range(2)] == [first, second + 1]
    events = SqlEventLog(engine).events(name="triage")
    assert [(event.kind, event.details["attempt"]) for event in events] == [
        ("release.attempt.begun", 1),
        ("release.attempt.begun", 2),
        ("release.attempt.given_back", 1),
        ("release.attempt.begun", 1),
        ("release.attempt.begun", 3),
    ]
    assert events[2].details["reason"] == "the process died"


def test_attempts_that_begin_together_never_share_a_number(attempts: SqlAttemptStore) -> None:
    with ThreadPoolExecutor(8) as together:
        taken = list(together.map(lambda _: attempts.begin(STAGING, most=40), range(40)))
    assert sorted(taken) == list(range(1, 41))
