"""One of two processes: `python two_ranks.py FOLDER RANK`. Writes what it saw to FOLDER for the test to compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import distributed, nn

from acgs.learning.dp.engine import PrivateGradients
from acgs.learning.dp.randomness import FreshNoise
from acgs.learning.dp.sampling import PoissonSampler, split

WORLD = 2
ROWS = 8
WIDTH = 6
NOISY_WIDTH = 40_000
SIGMA, BOUND, EXPECTED = 1.5, 0.5, 10


class Silence:
    def add_normal(self, target: torch.Tensor, deviation: float) -> None:
        pass


def rows() -> torch.Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(9))


def losses(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).square().squeeze(1)


def engine(model: nn.Module, noise: Any) -> PrivateGradients:
    return PrivateGradients(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        noise_multiplier=SIGMA,
        max_grad_norm=BOUND,
        expected_batch_size=EXPECTED,
        physical_batch_size=3,
        noise=noise,
    )


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    tensors: dict[str, torch.Tensor] = {}

    def keep(name: str, model: nn.Linear) -> None:
        tensors[name] = model.weight.detach().clone()

    quiet = nn.Linear(WIDTH, 1, bias=False)
    private = engine(quiet, Silence())
    keep("quiet.0", quiet)
    # Unequal shares, then nothing on rank 1, then nothing on either.
    for step, shares in enumerate([([0, 1, 2, 3, 4], [5, 6, 7]), ([1, 2], []), ([], [])], start=1):
        for piece in split(shares[rank], 3):
            private.backward(losses(quiet, rows()[piece]))
        private.step()
        keep(f"quiet.{step}", quiet)

    noisy = nn.Linear(NOISY_WIDTH, 1, bias=False)
    private = engine(noisy, FreshNoise())
    keep("noisy.0", noisy)
    private.step()
    keep("noisy.1", noisy)

    torch.manual_seed(42)
    sampler = PoissonSampler(population=400, expected_batch_size=200, steps=2, rank=rank, world=WORLD)
    draws = [[index // WORLD for index in batch] for batch in sampler]
    distributed.destroy_process_group()
    save_file(tensors, folder / f"{rank}.safetensors")
    (folder / f"{rank}.json").write_text(json.dumps(draws))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
