from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.learning.dp.sampling import PoissonSampler, split


@given(st.integers(1, 400), st.data())
def test_every_declared_step_is_yielded_also_when_it_is_empty(population: int, data: st.DataObject) -> None:
    """A sampler that skips empty batches runs fewer steps than were declared, and other numbers on other ranks."""
    world = data.draw(st.integers(1, 8))
    for rank in range(world):
        sampler = PoissonSampler(population=population, expected_batch_size=1, steps=17, rank=rank, world=world)
        batches = list(sampler)
        assert len(batches) == len(sampler) == 17
        assert all(index % world == rank and 0 <= index < population for batch in batches for index in batch)


def test_most_batches_may_be_empty() -> None:
    batches = list(PoissonSampler(population=10_000, expected_batch_size=1, steps=200, rank=3, world=8))
    assert len(batches) == 200
    assert sum(not batch for batch in batches) > 100


@pytest.mark.parametrize("world", [1, 2, 5])
def test_the_union_over_ranks_has_the_same_rate_for_any_number_of_ranks(world: int) -> None:
    """A resized run keeps its sampling rate: the expected batch over all ranks stays the public constant."""
    samplers = [
        PoissonSampler(population=1_000, expected_batch_size=100, steps=100, rank=rank, world=world)
        for rank in range(world)
    ]
    assert {sampler.rate for sampler in samplers} == {0.1}
    sizes = [sum(map(len, batches)) for batches in zip(*samplers, strict=True)]
    # Binomial(1000, 0.1): deviation 9.5 of one batch, 0.95 of the mean of 100, and a variance of 90.
    assert np.mean(sizes) == pytest.approx(100, abs=5)
    assert np.var(sizes) == pytest.approx(90, rel=0.75)


def test_each_record_is_drawn_on_its_own_at_the_rate() -> None:
    counts = np.zeros(50)
    for batch in PoissonSampler(population=50, expected_batch_size=10, steps=4_000):
        counts[batch] += 1
    # Deviation of a count is sqrt(4000 * 0.2 * 0.8) = 25.3; five of them.
    assert np.abs(counts - 800).max() < 5.5 * 25.3


def test_workers_with_one_global_seed_draw_different_masks_and_a_restart_draws_new_ones() -> None:
    import torch

    draws = []
    for _ in range(3):
        torch.manual_seed(42)
        np.random.seed(42)
        draws.append(tuple(next(iter(PoissonSampler(population=500, expected_batch_size=250, steps=1)))))
    assert len(set(draws)) == 3


@pytest.mark.parametrize("steps", [93, 99, 105, 1])
def test_steps_are_counted_not_derived_from_a_rate(steps: int) -> None:
    """int(1 / (1 / n)) is below n for these: a run that derives its steps from a rate runs others than were planned."""
    assert len(list(PoissonSampler(population=steps, expected_batch_size=1, steps=steps))) == steps


@pytest.mark.parametrize(
    "numbers",
    [
        {"expected_batch_size": 0},
        {"expected_batch_size": 11},
        {"steps": -1},
        {"rank": 2, "world": 2},
        {"rank": -1},
        {"population": 0},
    ],
)
def test_numbers_that_describe_no_poisson_sampling_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError):
        PoissonSampler(**{"population": 10, "expected_batch_size": 5, "steps": 1, **numbers})


@given(st.lists(st.integers()), st.integers(1, 9))
def test_pieces_hold_every_index_once_and_fit(indices: list[int], size: int) -> None:
    pieces = list(split(indices, size))
    assert [index for piece in pieces for index in piece] == indices
    assert all(1 <= len(piece) <= size for piece in pieces)
