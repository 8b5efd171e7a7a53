from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import IntegrityError


def test_the_first_private_step_moves_every_lora_factor(lora_case: Callable[..., Any]) -> None:
    """LoRA's delta is 0 until B moves; a run whose delta stays 0 trained nothing."""
    from acgs.learning.dp.adapter_checks import assert_trained, trainable_weights
    from acgs.learning.dp.randomness import FreshNoise

    case = lora_case("llama", freeze_a=True)
    engine = case.engine(noise=FreshNoise())
    before = trainable_weights(case.model)
    with pytest.raises(IntegrityError, match="did not change"):
        assert_trained(case.model, before)
    engine.step()
    assert_trained(case.model, before)


def test_weights_that_are_not_finite_or_not_the_ones_trained_are_found(lora_case: Callable[..., Any]) -> None:
    import torch

    from acgs.learning.dp.adapter_checks import assert_trained, trainable_weights

    case = lora_case("llama")
    before = trainable_weights(case.model)
    with torch.no_grad():
        case.parameters[0][0, 0] = float("nan")
    with pytest.raises(IntegrityError, match="not finite"):
        assert_trained(case.model, before)
    before.popitem()
    with pytest.raises(IntegrityError, match="not those"):
        assert_trained(case.model, before)


def test_a_saved_adapter_that_is_not_the_live_one_is_found(lora_case: Callable[..., Any], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from acgs.learning.dp.adapter_checks import ADAPTER_FILE, assert_saved

    case = lora_case("qwen2")
    case.model.save_pretrained(tmp_path)
    assert_saved(case.model, tmp_path)
    with torch.no_grad():
        case.parameters[-1].mul_(1.001)
    with pytest.raises(IntegrityError, match="differs from the live"):
        assert_saved(case.model, tmp_path)
    tensors = load_file(tmp_path / ADAPTER_FILE)
    tensors.popitem()
    save_file(tensors, tmp_path / ADAPTER_FILE)
    with pytest.raises(IntegrityError, match="other tensors"):
        assert_saved(case.model, tmp_path)
