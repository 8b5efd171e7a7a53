from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.errors import InvalidInputError


def test_only_b_is_trained_and_a_private_step_leaves_a_as_it_was(lora_case: Callable[..., Any]) -> None:
    from acgs.learning.dp.ffa import freeze_a
    from acgs.learning.dp.randomness import FreshNoise

    case = lora_case("llama")
    expected = sum(p.numel() for name, p in case.model.named_parameters() if "lora_A" in name)
    assert freeze_a(case.model) == expected > 0
    assert all("lora_B" in name for name, p in case.model.named_parameters() if p.requires_grad)
    before = {name: p.detach().clone() for name, p in case.model.named_parameters()}
    case.engine(noise=FreshNoise()).step()
    moved = {name for name, p in case.model.named_parameters() if not p.equal(before[name])}
    assert moved == {name for name in before if "lora_B" in name}


def test_a_model_without_lora_is_refused(linear_case: Callable[..., Any]) -> None:
    from acgs.learning.dp.ffa import freeze_a

    with pytest.raises(InvalidInputError, match="no LoRA factors"):
        freeze_a(linear_case().model)
