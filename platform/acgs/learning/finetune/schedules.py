"""Learning rate by step, through transformers' schedulers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import get_scheduler

from acgs.learning.finetune.config import Phase

_POLYNOMIAL_END = 1e-7
"""transformers' own default; a smaller rate cannot be scheduled down to it."""


def learning_rate(phase: Phase, steps: int) -> Callable[[int], float]:
    """The rate of each step, counted from 0; depends on the step alone, so a resumed run has the same."""
    name = {"constant": "constant_with_warmup"}.get(phase.schedule, phase.schedule)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=phase.learning_rate)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=phase.warmup_steps, num_training_steps=steps)
    factor: Callable[[int], float] = scheduler.lr_lambdas[0]
    return lambda step: phase.learning_rate * factor(step)
