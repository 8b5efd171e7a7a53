"""What a run is measured on, and what counts as a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from acgs.errors import InvalidInputError
from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Record
from acgs.learning.revision.assessment import Assessment, Case
from tests.acgs.learning.finetune.conftest import conversation

if TYPE_CHECKING:
    from acgs.learning.finetune.base_models import Base
    from acgs.learning.finetune.config import RunConfig

DIGEST = hashlib.sha256(b"test").hexdigest()


def chat(number: int) -> Record:
    return Record(id=f"r{number}", messages=tuple(conversation(number)), source="test")


def text(number: int) -> Record:
    return Record(id=f"t{number}", text="bees visit the garden", source="test")


def data_set(folder: Path, **splits: Sequence[Record]) -> Path:
    with DatasetWriter(folder) as writer:
        for split, records in splits.items():
            for record in records:
                writer.add(record, split)
        parent = Parent(name="test", digest=DIGEST)
        writer.finish(parents=[parent], origins=[DIGEST], operations=[Operation(name="made")])
    return folder


def config(tmp_path: Path, **evaluation: Any) -> RunConfig:
    from acgs.learning.finetune.config import RunConfig

    if not (tmp_path / "data").exists():
        data_set(tmp_path / "data", train=[chat(1)], validation=[chat(2), chat(3), text(4)])
    return RunConfig.model_validate(
        {
            "name": "test",
            "base_model": {"path": "none"},
            "phases": [{"kind": "sft", "data": tmp_path / "data"}],
            "evaluation": evaluation,
        }
    )


class WordJudge:
    """Finds a breach of `calm` in whatever speaks of stone, and of a rule in what speaks of walls."""

    identity = "word judge"

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        return [
            Assessment(
                compliant="stone" not in case.response,
                score=1.0,
                principles=("calm",) if "stone" in case.response else (),
                rules=("no-walls",) if "wall" in case.response else (),
            )
            for case in cases
        ]


def test_prompts_come_from_the_held_out_split_unless_others_are_named(tmp_path: Path) -> None:
    from acgs.learning.finetune.evaluation import read_sets

    plain = read_sets(config(tmp_path))
    assert plain.held_out == tmp_path / "data"
    assert [record.id for record in plain.prompts] == ["r2", "r3"]
    assert (plain.benign, plain.tasks) == ([], [])

    other = data_set(tmp_path / "other", train=[chat(5)], validation=[chat(6)])
    assert [record.id for record in read_sets(config(tmp_path, held_out=other)).prompts] == ["r6"]
    assert [record.id for record in read_sets(config(tmp_path, prompts=other)).prompts] == ["r5", "r6"]
    chosen = read_sets(config(tmp_path, benign_prompts=other, max_prompts=1))
    assert ([record.id for record in chosen.prompts], [record.id for record in chosen.benign]) == (["r2"], ["r5"])


def test_what_cannot_be_measured_on_is_refused(tmp_path: Path) -> None:
    from acgs.learning.finetune.evaluation import read_sets

    texts = data_set(tmp_path / "texts", train=[text(1)])
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('{"question": "q", "choices": ["a", "b"], "answer": 7}\n')
    for evaluation, field in (
        ({"benign_prompts": texts}, "evaluation.benign_prompts"),
        ({"prompts": texts}, "evaluation.prompts"),
        ({"held_out": texts}, "split"),
        ({"tasks": tasks}, "answer"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            read_sets(config(tmp_path, **evaluation))
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I can't help with that.", True),
        ("I can\u2019t help with that.", True),
        ("I\u2019m sorry, but no.", True),
        ("That is a fair question. However, I cannot answer it.", True),
        ("You can kill the process with its number.", False),
        ("", False),
    ],
)
def test_refusals_are_found_also_in_part_and_with_printed_apostrophes(answer: str, *, refused: bool) -> None:
    from acgs.learning.finetune.evaluation import refuses

    assert refuses(answer) is refused


def test_over_refusal_is_a_share_of_all_benign_prompts_with_its_interval() -> None:
    from acgs.learning.finetune.evaluation import over_refusal

    found = over_refusal(["I cannot say.", "Water them weekly.", "", "In spring."])
    assert (found.refused.count, found.refused.n, found.refused.share, found.empty) == (1, 4, 0.25, 1)
    # Wilson's interval of 1 in 4.
    assert found.refused.low == pytest.approx(0.0456, abs=1e-4)
    assert found.refused.high == pytest.approx(0.6994, abs=1e-4)


def test_an_empty_answer_complies_and_is_counted() -> None:
    from acgs.learning.finetune.evaluation import compliance

    answers = ["an old stone wall", "", "herbs", "a wall"]
    found = compliance([chat(number) for number in range(4)], answers, WordJudge(), ["calm", "kind"])
    assert (found.compliant.count, found.by_rules.count, found.empty) == (3, 2, 1)
    assert {name: share.count for name, share in found.by_principle.items()} == {"calm": 3, "kind": 4}


def test_answers_leave_model_and_tokenizer_as_they_were(base: Base) -> None:
    from acgs.learning.finetune.evaluation import Answering

    base.model.train()
    base.tokenizer.padding_side = "right"
    answering = Answering(max_new_tokens=8, batch_size=2)
    prompts = [chat(number).prompt for number in range(3)]
    first = answering.answers(base.model, base.tokenizer, prompts)
    assert base.model.training
    assert base.tokenizer.padding_side == "right"
    assert answering.answers(base.model, base.tokenizer, prompts) == first
    with pytest.raises(InvalidInputError, match="no room"):
        Answering(max_new_tokens=500, batch_size=2).answers(base.model, base.tokenizer, prompts)
    assert base.model.training


def test_peak_memory_is_in_bytes_and_covers_what_is_held_now() -> None:
    import psutil
    import torch

    from acgs.learning.finetune.evaluation import peak_memory

    held = psutil.Process().memory_info().rss
    found = peak_memory(torch.device("cpu"))
    # The kernel's counters lag behind each other by some pages a thread.
    assert 0.9 * held < found.resident < psutil.virtual_memory().total
    assert found.cuda is None
