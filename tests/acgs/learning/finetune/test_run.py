"""Whole runs of several phases on one process, stopped and taken up again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Record
from acgs.learning.revision.assessment import Assessment, Case
from tests.acgs.learning.finetune.conftest import conversation

if TYPE_CHECKING:
    from acgs.learning.finetune.config import RunConfig
    from acgs.learning.finetune.run import Report, Surroundings

ORIGIN = hashlib.sha256(b"made").hexdigest()


class KilledError(Exception):
    pass


class Content:
    """A judge that minds nothing."""

    identity = "content"

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        return [Assessment(compliant=True, score=1.0) for _ in cases]


@pytest.fixture
def config(tmp_path: Path, corpus_file: Path) -> RunConfig:
    """Two phases of six steps each, with a checkpoint after every second step."""
    from acgs.learning.finetune.config import RunConfig

    with DatasetWriter(tmp_path / "data") as writer:
        for number in range(30):
            record = Record(id=f"r{number}", messages=tuple(conversation(number)), source="test")
            writer.add(record, "train" if number < 24 else "validation")
        parent = Parent(name="made", digest=ORIGIN)
        writer.finish(parents=[parent], origins=[ORIGIN], operations=[Operation(name="made")])
    tiny = {"corpus": corpus_file, "hidden_size": 32, "layers": 2, "heads": 2, "vocabulary": 320, "context": 128}
    shared = {"data": tmp_path / "data", "epochs": 2, "batch_size": 8, "max_length": 128, "learning_rate": 1e-2}
    phases = [{"kind": "dapt", "method": "full", **shared}, {"kind": "sft", **shared}]
    evaluation = {"max_prompts": 2, "max_new_tokens": 2}
    return RunConfig.model_validate(
        {"name": "test", "base_model": {"tiny": tiny}, "phases": phases, "lora": {"r": 2, "alpha": 4},
         "evaluation": evaluation, "checkpoint_every_steps": 2}
    )  # fmt: skip


def surroundings(report: Report, checkpoint: Path | None = None) -> Surroundings:
    from acgs.learning.finetune.run import Surroundings

    return Surroundings(report=report, open_judge=Content, principles=["calm"], checkpoint=checkpoint)


def curves(outcome: Any) -> list[list[float]]:
    return [[loss for _, loss, _ in phase.curve] for phase in outcome.phases]


def test_a_run_taken_up_in_its_first_phase_ends_as_if_it_had_not_been_stopped(
    config: RunConfig, tmp_path: Path
) -> None:
    from acgs.learning.finetune.run import TrainingRun

    whole = TrainingRun(config, tmp_path / "whole", surroundings(lambda state, save: None)).execute()

    checkpoint = tmp_path / "checkpoint"

    def killed(state: Any, save: Any) -> None:
        save(checkpoint)
        if state.step == 4:
            raise KilledError

    with pytest.raises(KilledError):
        TrainingRun(config, tmp_path / "parts", surroundings(killed)).execute()

    def tidy(state: Any, save: Any) -> None:
        # As Ray Train does, which keeps the last checkpoints alone.
        shutil.rmtree(checkpoint, ignore_errors=True)

    resumed = TrainingRun(config, tmp_path / "parts", surroundings(tidy, checkpoint)).execute()
    assert [phase.reason for phase in resumed.phases] == ["finished", "finished"]
    assert curves(resumed) == curves(whole)


def test_a_run_taken_up_in_its_second_phase_keeps_what_the_first_learned(config: RunConfig, tmp_path: Path) -> None:
    from acgs.learning.finetune.run import TrainingRun

    whole = TrainingRun(config, tmp_path / "whole", surroundings(lambda state, save: None)).execute()
    checkpoint = tmp_path / "checkpoint"

    def killed(state: Any, save: Any) -> None:
        save(checkpoint)
        if (state.phase, state.step) == (1, 2):
            raise KilledError

    with pytest.raises(KilledError):
        TrainingRun(config, tmp_path / "parts", surroundings(killed)).execute()
    resumed = TrainingRun(config, tmp_path / "parts", surroundings(lambda state, save: None, checkpoint)).execute()
    assert curves(resumed) == curves(whole)
