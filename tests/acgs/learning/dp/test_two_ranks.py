"""Two processes over gloo, started once for the module."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).with_name("two_ranks.py")
TIMEOUT_SECONDS = 240


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each rank wrote: tensors and draws."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("ranks")
    processes = [subprocess.Popen([sys.executable, str(WORKER), str(folder), str(rank)]) for rank in (0, 1)]
    try:
        codes = [process.wait(TIMEOUT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0]
    tensors, draws = ([folder / f"{rank}.{kind}" for rank in (0, 1)] for kind in ("safetensors", "json"))
    return [(load_file(one), json.loads(other.read_text())) for one, other in zip(tensors, draws, strict=True)]


@pytest.fixture(scope="module")
def worker() -> Any:
    spec = importlib.util.spec_from_file_location("two_ranks", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_weights_are_identical_on_both_ranks_from_the_start_and_after_every_step(seen: Any) -> None:
    """Though each process drew its own initial weights, and one had no example in two of the steps."""
    import torch

    (first, _), (second, _) = seen
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_ranks_sum_to_what_one_process_computes(seen: Any, worker: Any) -> None:
    import torch

    weights = seen[0][0]
    model = torch.nn.Linear(worker.WIDTH, 1, bias=False)
    model.weight.data = weights["quiet.0"].clone()
    private = worker.engine(model, worker.Silence())
    for step, indices in enumerate([list(range(8)), [1, 2], []], start=1):
        for piece in worker.split(indices, 3):
            private.backward(worker.losses(model, worker.rows()[piece]))
        private.step()
        assert torch.allclose(model.weight, weights[f"quiet.{step}"], rtol=1e-5, atol=1e-7)
    assert not torch.equal(weights["quiet.0"], weights["quiet.1"])
    assert torch.equal(weights["quiet.2"], weights["quiet.3"])


def test_noise_is_added_once_for_the_sum_of_all_ranks(seen: Any, worker: Any) -> None:
    weights = seen[0][0]
    noise = weights["noisy.1"] - weights["noisy.0"]
    # Standard error 0.35 %; noise from each rank would be 41 % more.
    assert float(noise.std()) == pytest.approx(worker.SIGMA * worker.BOUND / worker.EXPECTED, rel=0.02)


def test_ranks_with_one_global_seed_draw_different_masks(seen: Any) -> None:
    (_, first), (_, second) = seen
    assert first[0] != second[0]
    assert first[1] != second[1]
