"""The processes that train together, as far as a loop needs to know them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class World:
    """This process among `size`; gradients and figures are summed over all."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum in place over all processes."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def share(self, values: list[int]) -> list[int]:
        """What this process does of a list that all have."""
        return values[self.rank :: self.size]

    def agree(self, value: int) -> int:
        """What process 0 says, for all."""
        if self.size == 1:
            return value
        said = torch.tensor([value], device=self.device)
        distributed.broadcast(said, src=0)
        return int(said.item())

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return bool(self.sum(torch.tensor([int(flag)], device=self.device)).item())

    def share_weights(self, parameters: list[torch.nn.Parameter]) -> None:
        """Every process takes process 0's weights."""
        if self.size > 1:
            for parameter in parameters:
                distributed.broadcast(parameter.data, src=0)
