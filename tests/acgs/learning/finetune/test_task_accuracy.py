"""Choosing by likelihood a character, and answering to the letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from acgs.errors import InvalidInputError
from acgs.learning.data.records import Message

if TYPE_CHECKING:
    from acgs.learning.finetune.base_models import Base
    from acgs.learning.finetune.tasks import ChoiceTask


def task(answer: int = 0) -> ChoiceTask:
    from acgs.learning.finetune.tasks import ChoiceTask

    return ChoiceTask(question="the garden grows", choices=("herbs", "small trees near", "an old stone"), answer=answer)


def learn(base: Base, question: str, answer: str) -> None:
    """Teach the model one answer until it knows it."""
    import torch

    from acgs.learning.finetune.examples import collate, encode_chat
    from acgs.learning.finetune.loop import batch_loss_sum

    chat = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    batch = collate([encode_chat(base.tokenizer, chat, 128)], base.tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(base.model.parameters(), lr=1e-2)
    base.model.train()
    for _ in range(30):
        batch_loss_sum(base.model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_long_choice_is_not_less_likely_for_its_length_alone() -> None:
    from acgs.learning.finetune.task_accuracy import pick

    assert pick(["ab", "abcdefgh"], [-4.0, -8.0]) == 1
    assert pick(["ab", "abcdefgh"], [-4.0, -17.0]) == 0
    assert pick(["ab", "cd"], [-4.0, -4.0]) == 0


@pytest.mark.parametrize("template", [True, False])
def test_likelihoods_are_those_of_the_choices_tokens_one_at_a_time(base: Base, *, template: bool) -> None:
    """Against a plain loop over positions, without batches or padding."""
    import torch

    from acgs.learning.data.chat import render_prompt
    from acgs.learning.finetune.task_accuracy import choice_example, log_likelihoods

    if not template:
        base.tokenizer.chat_template = None
    question = Message(role="user", content=task().question)
    before = render_prompt([question], base.tokenizer)
    rows = [choice_example(base.tokenizer, task(), choice) for choice in task().choices]
    found = log_likelihoods(
        base.model, rows, pad_id=base.tokenizer.pad_token_id, batch_size=2, device=torch.device("cpu")
    )
    for choice, row, likelihood in zip(task().choices, rows, found, strict=True):
        text = before + (choice if template else f" {choice}")
        ids = base.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert list(row.ids) == ids
        start = len(base.tokenizer(before, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            expected = sum(
                float(base.model(torch.tensor([ids[:place]])).logits[0, -1].log_softmax(-1)[ids[place]])
                for place in range(start, len(ids))
            )
        assert likelihood == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_model_that_learned_an_answer_chooses_and_gives_it(base: Base, place: int) -> None:
    import torch

    from acgs.learning.finetune.evaluation import Answering
    from acgs.learning.finetune.task_accuracy import task_scores
    from acgs.learning.finetune.tasks import MatchTask

    right = task().choices[place]
    tasks = [task(answer=0), task(answer=1), task(answer=2)]
    tasks += [MatchTask(prompt=task().question, target=right), MatchTask(prompt=task().question, target="bees")]
    learn(base, task().question, right)
    scores = task_scores(
        base.model, base.tokenizer, tasks, Answering(max_new_tokens=16, batch_size=4), device=torch.device("cpu")
    )
    assert base.model.training
    assert (scores.multiple_choice.count, scores.multiple_choice.n) == (1, 3)
    assert (scores.exact_match.count, scores.exact_match.n) == (1, 2)
    assert (scores.accuracy.count, scores.accuracy.n) == (2, 5)
    assert scores.accuracy.low is not None
    assert scores.accuracy.low < 0.4 < (scores.accuracy.high or 0)


def test_tasks_of_one_kind_say_nothing_about_the_other(base: Base) -> None:
    import torch

    from acgs.learning.finetune.evaluation import Answering
    from acgs.learning.finetune.task_accuracy import task_scores

    answering = Answering(max_new_tokens=4, batch_size=4)
    scores = task_scores(base.model, base.tokenizer, [task()], answering, device=torch.device("cpu"))
    assert scores.exact_match.share is None


def test_a_task_that_does_not_fit_into_the_model_is_refused(base: Base) -> None:
    import torch

    from acgs.learning.finetune.evaluation import Answering
    from acgs.learning.finetune.task_accuracy import task_scores
    from acgs.learning.finetune.tasks import ChoiceTask

    long = ChoiceTask(question="stone " * 200, choices=("a", "b"), answer=0)
    with pytest.raises(InvalidInputError, match="does not fit"):
        task_scores(
            base.model, base.tokenizer, [long], Answering(max_new_tokens=4, batch_size=4), device=torch.device("cpu")
        )
