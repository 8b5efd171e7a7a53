from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from acgs.learning.finetune.progress import Progress as JobProgress
from acgs.learning.finetune.progress import ProgressFile
from acgs.learning.sessions.answer import status_answer
from acgs.learning.sessions.progress import PROGRESS_FILE, Progress, read_progress
from tests.acgs.learning.sessions.conftest import START, MakeSession

HALF = Progress(
    phase="sft", progress=0.5, step=5, steps=10, loss=1.5, compliance=0.9, epsilon=3.0, eta_seconds=60, updated_at=START
)


def test_what_the_job_writes_is_what_the_service_reads(tmp_path: Path) -> None:
    written = JobProgress(phase="dapt", progress=0.25, step=1, steps=4, loss=2.5, epsilon=0.5, message="going")
    ProgressFile(tmp_path / PROGRESS_FILE).write(written, now=True)
    read = read_progress(tmp_path)
    assert read is not None
    assert read.model_dump(exclude={"updated_at"}) == written.model_dump()


@pytest.mark.parametrize(
    "content", [None, "", "{", '{"phase": "sft"}', '{"phase":"x","progress":7,"step":0,"steps":0}']
)
def test_progress_that_is_not_there_or_makes_no_sense_is_no_progress(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / PROGRESS_FILE).write_text(content)
    assert read_progress(tmp_path) is None


def test_a_later_jobs_extra_figures_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / PROGRESS_FILE).write_text(json.dumps({"phase": "x", "progress": 0, "step": 0, "steps": 0, "new": 1}))
    assert read_progress(tmp_path) is not None


def test_the_estimate_counts_from_when_the_job_spoke(tmp_path: Path, make_session: MakeSession) -> None:
    path = tmp_path / PROGRESS_FILE
    path.write_text(HALF.model_dump_json(exclude={"updated_at"}))
    os.utime(path, (START.timestamp(), START.timestamp()))
    answer = status_answer(make_session().ready().start(START), read_progress(tmp_path), "out")
    assert answer.estimated_completion == (START + timedelta(seconds=60)).isoformat()


def test_a_running_session_shows_what_its_job_says(make_session: MakeSession) -> None:
    session = make_session(target_epsilon=8.0, delta=1e-5).ready().start(START)
    answer = status_answer(session, HALF, "out")
    assert (answer.status, answer.progress, answer.current_phase) == ("running", 0.5, "sft")
    assert answer.constitutional_compliance_score == 0.9
    assert answer.training_metrics == {"training_loss": 1.5, "tokens_per_second": None, "step": 5, "steps": 10}
    assert answer.privacy_metrics == {
        "privacy_epsilon_used": 3.0,
        "privacy_delta": 1e-5,
        "target_epsilon": 8.0,
        "privacy_budget_remaining": 5.0,
    }
    assert answer.model_artifacts is None


def test_what_is_not_measured_is_none_and_not_zero(make_session: MakeSession) -> None:
    answer = status_answer(make_session(target_epsilon=8.0, delta=1e-5).ready(), None, "out")
    assert (answer.current_phase, answer.constitutional_compliance_score) == ("initialization", None)
    assert answer.training_metrics is None
    assert answer.privacy_metrics is not None
    assert answer.privacy_metrics["privacy_epsilon_used"] is None
    assert answer.privacy_metrics["privacy_budget_remaining"] is None
    assert status_answer(make_session(), None, "out").privacy_metrics is None


def test_ends_name_their_phase_and_only_a_completed_one_has_results(make_session: MakeSession) -> None:
    running = make_session().ready().start(START)
    done = status_answer(running.complete(START, HALF), None, "out")
    assert (done.progress, done.current_phase, done.model_artifacts) == (1.0, "finished", {"output": "out"})
    failed = status_answer(running.fail(START, "why", HALF), None, "out")
    assert (failed.progress, failed.current_phase, failed.error_message) == (0.5, "error", "why")
    assert failed.model_artifacts is None
    cancelled = status_answer(running.cancel(START).stopped(START, None), None, "out")
    assert (cancelled.current_phase, cancelled.error_message) == ("finished", None)
