from __future__ import annotations

import pytest


def test_generators_differ_whatever_the_global_seed() -> None:
    import torch

    from acgs.learning.dp.randomness import fresh_generator

    draws = set()
    for _ in range(4):
        torch.manual_seed(0)
        draws.add(fresh_generator().integers(2**63))
    assert len(draws) == 4


def test_a_torch_generator_would_keep_half_of_its_seed() -> None:
    """Why the noise does not come from one: seeds that differ in the upper 32 bits draw the same noise."""
    import torch

    one, other = (torch.randn(9, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + 2**32))
    assert torch.equal(one, other)


def test_noise_is_added_in_full_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from acgs.learning.dp import randomness

    monkeypatch.setattr(randomness, "_CHUNK", 1_000)
    target = torch.full((50_001,), 3.0)
    randomness.FreshNoise().add_normal(target, 2.0)
    assert (target != 3.0).all()
    # Standard errors: 0.009 for the mean, 0.32 % for the deviation.
    assert float(target.mean()) == pytest.approx(3.0, abs=0.05)
    assert float(target.std()) == pytest.approx(2.0, rel=0.02)
    halves = target[:50_000].view(2, -1) - 3.0
    assert abs(float((halves[0] * halves[1]).mean())) < 5 * 4 / 158, "chunks repeat"
