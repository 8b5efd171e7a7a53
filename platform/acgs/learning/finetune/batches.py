"""Which examples are in which step: a function of seed and step alone, so that any number of workers and any restart
see the same batches."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """Shuffled passes over `size` examples in batches of `batch_size`; each pass has an order of its own."""

    size: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass; the last batch may be smaller."""
        return ceil(self.size / self.batch_size)

    def steps(self, epochs: float) -> int:
        """Steps of so many passes, at least one."""
        return max(1, round(epochs * self.steps_per_epoch))

    def batch(self, step: int) -> list[int]:
        """Indices of the examples in the step's batch, over all workers."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        chosen: list[int] = order[place * self.batch_size : (place + 1) * self.batch_size].tolist()
        return chosen
