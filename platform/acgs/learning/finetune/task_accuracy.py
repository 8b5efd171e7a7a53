"""Accuracy on tasks: the likeliest choice, and the answer that must match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from acgs.errors import InvalidInputError
from acgs.learning.data.chat import render
from acgs.learning.data.records import Message
from acgs.learning.dp.losses import per_sequence_loss
from acgs.learning.finetune.evaluation import Answering, Proportion, proportion
from acgs.learning.finetune.examples import Example, collate
from acgs.learning.finetune.loop import forward, to_device
from acgs.learning.finetune.tasks import ChoiceTask, MatchTask, Task


class TaskScores(BaseModel):
    """Shares of the tasks solved; `accuracy` is over both kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accuracy: Proportion
    multiple_choice: Proportion
    exact_match: Proportion


def task_scores(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[Task],
    answering: Answering,
    *,
    device: torch.device,
    autocast: torch.dtype | None = None,
) -> TaskScores:
    """Let the model solve the tasks.

    Raises:
        InvalidInputError: a task does not fit into the model.
    """
    choices = [task for task in tasks if isinstance(task, ChoiceTask)]
    matches = [task for task in tasks if isinstance(task, MatchTask)]
    rows = [choice_example(tokenizer, task, choice) for task in choices for choice in task.choices]
    _check_lengths(rows, model)
    likelihoods = iter(
        log_likelihoods(
            model,
            rows,
            pad_id=tokenizer.pad_token_id,
            batch_size=answering.batch_size,
            device=device,
            autocast=autocast,
        )
    )
    chosen = [pick(task.choices, [next(likelihoods) for _ in task.choices]) for task in choices]
    prompts = [[Message(role="user", content=task.prompt)] for task in matches]
    answers = answering.answers(model, tokenizer, prompts)
    by_choice = sum(place == task.answer for place, task in zip(chosen, choices, strict=True))
    by_match = sum(answer == task.target for answer, task in zip(answers, matches, strict=True))
    return TaskScores(
        accuracy=proportion(by_choice + by_match, len(tasks)),
        multiple_choice=proportion(by_choice, len(choices)),
        exact_match=proportion(by_match, len(matches)),
    )


def pick(choices: Sequence[str], likelihoods: Sequence[float]) -> int:
    """The place of the choice with the highest log-likelihood a character, the first of equals.

    That is `acc_norm` of EleutherAI's lm-evaluation-harness (`ConfigurableTask.process_results`); without the
    division a longer choice would be less likely for its length alone.
    """
    by_character = [value / len(choice) for value, choice in zip(likelihoods, choices, strict=True)]
    return by_character.index(max(by_character))


def choice_example(tokenizer: Any, task: ChoiceTask, choice: str) -> Example:
    """The question as the user's turn and the choice as the answer; the choice's tokens are the targets.

    Raises:
        InvalidInputError: the chat template does not repeat the choice as it stands.
    """
    asked, answered = Message(role="user", content=task.question), Message(role="assistant", content=choice)
    rendered = render([asked, answered], tokenizer)
    start, end = rendered.spans[-1]
    place = rendered.text.find(choice, start, end)
    if place < 0:
        raise InvalidInputError("the chat template rewrites the choices of a task", field="evaluation.tasks")
    # What marks the end of a turn is no part of the choice, and counts for none.
    text = rendered.text[: place + len(choice)]
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    targets = tuple(last > first >= start for first, last in encoded["offset_mapping"])
    return Example(tuple(encoded["input_ids"]), targets)


def log_likelihoods(
    model: Any,
    rows: Sequence[Example],
    *,
    pad_id: int,
    batch_size: int,
    device: torch.device,
    autocast: torch.dtype | None = None,
) -> list[float]:
    """Of each row's targets given what stands before them, in nats."""
    was_training = model.training
    model.eval()
    found: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = to_device(collate(rows[start : start + batch_size], pad_id), device)
            mean = per_sequence_loss(forward(model, batch, autocast=autocast), batch["input_ids"], batch["target_mask"])
            found += (-mean * batch["target_mask"][:, 1:].sum(1)).tolist()
    model.train(was_training)
    return found


def _check_lengths(rows: Sequence[Example], model: Any) -> None:
    longest = max((len(row.ids) for row in rows), default=0)
    room = getattr(model.config, "max_position_embeddings", None)
    if room is not None and longest > room:
        raise InvalidInputError(
            f"a task of {longest} tokens does not fit into a model of {room}; shorten it", field="evaluation.tasks"
        )
