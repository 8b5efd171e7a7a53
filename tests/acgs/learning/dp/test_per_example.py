from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.integers(1, 6)


def _check(form: Any, oracle: Any, generator: Any) -> None:
    """Norms and weighted sums of a form are those of the gradients written out."""
    import torch

    weights = torch.rand(len(oracle), generator=generator)
    total = torch.ones(oracle.shape[1:])
    form.add_weighted_sum(weights, total)
    assert torch.allclose(form.squared_norms(), oracle.flatten(1).square().sum(1), rtol=1e-4, atol=1e-4)
    assert torch.allclose(total, 1 + torch.tensordot(weights, oracle, 1), rtol=1e-4, atol=1e-4)
    assert torch.allclose(form.matrices().gradients, oracle, rtol=1e-4, atol=1e-4)


@settings(deadline=None)
@given(sizes, sizes, sizes, sizes, st.integers(0, 2**31))
def test_factors_and_matrices_agree(batch: int, length: int, rows: int, columns: int, seed: int) -> None:
    import torch

    from acgs.learning.dp.per_example import OuterFactors, outer

    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(batch, length, rows, generator=generator)
    right = torch.randn(batch, length, columns, generator=generator)
    oracle = torch.stack(
        [sum(torch.outer(a, b) for a, b in zip(*pair, strict=True)) for pair in zip(left, right, strict=True)]
    )
    for build in (OuterFactors, outer):
        _check(build(left, right), oracle, generator)


@settings(deadline=None)
@given(sizes, sizes, sizes, st.integers(0, 2**31))
def test_rows_that_repeat_within_an_example_add_up_before_they_are_squared(
    batch: int, length: int, width: int, seed: int
) -> None:
    import torch

    from acgs.learning.dp.per_example import RowFactors

    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 3, (batch, length), generator=generator)
    gradients = torch.randn(batch, length, width, generator=generator)
    oracle = torch.zeros(batch, 3, width)
    for example in range(batch):
        for token in range(length):
            oracle[example, ids[example, token]] += gradients[example, token]
    _check(RowFactors(ids, gradients, 3), oracle, generator)


@pytest.mark.parametrize(("length", "form"), [(64, "Matrices"), (2, "OuterFactors")])
def test_the_smaller_form_is_kept(length: int, form: str) -> None:
    """For LoRA's factors of r columns: matrices above r tokens, factors below."""
    import torch

    from acgs.learning.dp.per_example import outer

    kept = outer(torch.randn(2, length, 512), torch.randn(2, length, 8))
    assert type(kept).__name__ == form


def test_a_parameter_used_twice_is_clipped_by_the_norm_of_the_sum() -> None:
    import torch

    from acgs.learning.dp.per_example import OuterFactors, added

    left, right = torch.randn(3, 2, 4), torch.randn(3, 2, 5)
    twice = added(OuterFactors(left, right), OuterFactors(-left, right))
    assert float(twice.squared_norms().max()) == 0.0
