"""One user moves the noised sum by at most the bound, whatever his records are and however many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

WIDTH = 3
BOUND = 0.5

coordinates = st.floats(-1e6, 1e6, width=32)
gradients = st.lists(coordinates, min_size=WIDTH, max_size=WIDTH)
users = st.lists(st.lists(gradients, min_size=1, max_size=6), min_size=1, max_size=5)


class Linear:
    """A loss `w x` whose gradient is the record x itself, so that a test chooses gradients; keeps the noiseless sum."""

    def __init__(self) -> None:
        import torch

        self.model = torch.nn.Linear(WIDTH, 1, bias=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
        self.before_noise: torch.Tensor | None = None

    def add_normal(self, target: torch.Tensor, deviation: float) -> None:
        self.before_noise = target.clone()

    def losses(self, records: Sequence[Sequence[float]]) -> torch.Tensor:
        import torch

        losses: torch.Tensor = self.model(torch.tensor(records)).squeeze(1)
        return losses

    def sum_of(self, population: Sequence[Sequence[Sequence[float]]], *, pieces: int = 2) -> torch.Tensor:
        from acgs.learning.dp.user_engine import PrivateUserGradients

        engine = PrivateUserGradients(
            self.model, self.optimizer, noise_multiplier=1.0, max_grad_norm=BOUND, expected_batch_size=1, noise=self
        )
        for records in population:
            engine.backward(self.losses(records[i : i + pieces]) for i in range(0, len(records), pieces))
        engine.step()
        assert self.before_noise is not None
        return self.before_noise


@settings(deadline=None, max_examples=150)
@given(users, st.data())
def test_removing_a_user_moves_the_sum_by_at_most_the_bound(
    population: list[list[list[float]]], data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, len(population) - 1))
    case = Linear()
    whole = case.sum_of(population).double()
    rest = case.sum_of(population[:gone] + population[gone + 1 :]).double()
    # Each of the sums is rounded to float32 where it is about the bound times the users.
    assert float((whole - rest).norm()) <= BOUND * (1 + 1e-6 * len(population))


def test_clipping_each_record_would_let_a_user_of_many_records_pass_the_bound() -> None:
    """What the unit `user` is for: eight alike records clipped one by one move the sum by eight bounds."""
    from acgs.learning.dp.engine import PrivateGradients

    case, records = Linear(), [[100.0, 0.0, 0.0]] * 8
    engine = PrivateGradients(
        case.model, case.optimizer, noise_multiplier=1.0, max_grad_norm=BOUND, expected_batch_size=1,
        physical_batch_size=8, noise=case,
    )  # fmt: skip
    engine.backward(case.losses(records))
    engine.step()
    engine.close()
    assert case.before_noise is not None
    assert float(case.before_noise.norm()) == pytest.approx(8 * BOUND)
    assert float(case.sum_of([records]).norm()) == pytest.approx(BOUND)


@settings(deadline=None, max_examples=50)
@given(st.lists(gradients, min_size=1, max_size=6), st.integers(1, 6))
def test_a_user_gives_the_clipped_mean_of_his_gradients_in_passes_of_any_size(
    records: list[list[float]], pieces: int
) -> None:
    mean = np.mean(records, axis=0)
    norm = float(np.linalg.norm(mean))
    expected = mean * min(1.0, BOUND / norm) if norm > 0 else mean
    scale = max(float(np.abs(records).max()), 1e-3)
    # Gradients that nearly cancel keep the rounding of the large ones, which clipping makes larger in turn.
    if norm > 1e-3 * scale or norm == 0:
        found = Linear().sum_of([records], pieces=pieces).double().numpy()
        assert np.allclose(found, expected, atol=2e-4)


def test_one_pass_at_a_time_is_held() -> None:
    """The next part is asked for when the one before has been gone back through."""
    from acgs.learning.dp.user_engine import PrivateUserGradients

    case = Linear()
    engine = PrivateUserGradients(
        case.model, case.optimizer, noise_multiplier=1.0, max_grad_norm=BOUND, expected_batch_size=1, noise=case
    )
    seen: list[bool] = []

    def parts() -> Any:
        for _ in range(3):
            seen.append(case.model.weight.grad is not None)
            yield case.losses([[1.0, 2.0, 3.0]])

    engine.backward(parts())
    assert seen == [False, True, True]
    assert case.model.weight.grad is None


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_users_gradient_is_the_clipped_mean_of_single_ones_in_a_real_model(
    lora_case: Callable[..., Any], architecture: str
) -> None:
    import torch

    from acgs.learning.dp.user_engine import PrivateUserGradients

    case = lora_case(architecture)
    single = case.gradients()
    means = torch.stack([single[:3].mean(0), single[3]])
    bound = float(means.norm(dim=1).mean())
    expected = (means * (bound / means.norm(dim=1)).clamp(max=1)[:, None]).sum(0) / 2
    engine = PrivateUserGradients(
        case.model, torch.optim.SGD(case.parameters, lr=1.0), noise_multiplier=1.0, max_grad_norm=bound,
        expected_batch_size=2, noise=Silent(),
    )  # fmt: skip
    before = case.flat()
    engine.backward(case.losses(rows) for rows in (slice(0, 2), slice(2, 3)))
    engine.backward(iter([case.losses(slice(3, 4))]))
    engine.step()
    moved = before - case.flat()
    assert float((moved - expected).norm() / expected.norm()) < 1e-5


class Silent:
    def add_normal(self, target: torch.Tensor, deviation: float) -> None:
        pass


def test_a_user_whose_loss_is_not_finite_adds_nothing() -> None:
    from acgs.learning.dp.methods import NonFiniteGradientError
    from acgs.learning.dp.user_engine import PrivateUserGradients

    case = Linear()
    engine = PrivateUserGradients(
        case.model, case.optimizer, noise_multiplier=1.0, max_grad_norm=BOUND, expected_batch_size=1, noise=case
    )
    for poison in (float("nan"), float("inf"), 3e38):
        with pytest.raises(NonFiniteGradientError):
            engine.backward(iter([case.losses([[1.0, 1.0, 1.0]]), case.losses([[poison, 3e38, 3e38]])]))
    engine.step()
    assert case.before_noise is not None
    assert float(case.before_noise.norm()) == 0


def test_a_loss_over_all_rows_or_without_a_gradient_is_refused() -> None:
    from acgs.learning.dp.user_engine import PrivateUserGradients

    case = Linear()
    engine = PrivateUserGradients(
        case.model, case.optimizer, noise_multiplier=1.0, max_grad_norm=BOUND, expected_batch_size=1, noise=case
    )
    with pytest.raises(InvalidInputError, match="one loss per row"):
        engine.backward(iter([case.losses([[1.0, 1.0, 1.0]]).mean()]))
    with pytest.raises(InvalidInputError, match="no trainable weight"):
        engine.backward(iter([case.losses([[1.0, 1.0, 1.0]]).detach()]))
