"""Poisson sampling: each unit (a record, a user) enters each batch on its own, with probability
`expected_batch_size / population`.

The accountants' bounds hold for this sampling only. Batch sizes vary and may be 0; an empty batch is a step like any
other (noise is added, the step counts), so the sampler never skips one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acgs.errors import InvalidInputError
from acgs.learning.dp.randomness import fresh_generator


class PoissonSampler:
    """Yields one list of unit indices per step, exactly `steps` times, on each rank.

    Rank k draws from the units k, k + world, k + 2 world ..., with randomness of its own: the union over ranks is a
    Poisson sample of the whole population at the same rate for any world size, so a run that is resized keeps its rate.

    Args:
        population: number of units, a public constant of the run.
        expected_batch_size: mean size of the batch over all ranks, a public constant of the run.
        steps: how many batches to yield. Counted, never derived from a rate: `int(1 / (1 / n))` is not always `n`.
        rank: this process, from 0.
        world: number of processes.
        generator: only for tests that need a known draw.

    Raises:
        InvalidInputError: the numbers describe no Poisson sampling.
    """

    def __init__(
        self,
        *,
        population: int,
        expected_batch_size: int,
        steps: int,
        rank: int = 0,
        world: int = 1,
        generator: np.random.Generator | None = None,
    ) -> None:
        if not 1 <= expected_batch_size <= population:
            raise InvalidInputError(
                f"the expected batch ({expected_batch_size}) must lie between 1 and the population ({population})",
                field="expected_batch_size",
            )
        if steps < 0:
            raise InvalidInputError("the number of steps must not be negative", field="steps")
        if not 0 <= rank < world:
            raise InvalidInputError(f"rank {rank} does not exist among {world} processes", field="rank")
        self.rate = expected_batch_size / population
        self._records = np.arange(rank, population, world)
        self._steps = steps
        self._generator = generator or fresh_generator()

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self._steps):
            chosen = self._generator.random(len(self._records)) < self.rate
            yield self._records[chosen].tolist()


def split(indices: list[int], physical_batch_size: int) -> Iterator[list[int]]:
    """Pieces of a logical batch that fit in memory; none for an empty batch."""
    for start in range(0, len(indices), physical_batch_size):
        yield indices[start : start + physical_batch_size]
