from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.errors import InvalidInputError


def _choice(case: Any, mode: Any = "auto", budget: int = 2**30) -> Any:
    from acgs.learning.dp.modes import choose_mode

    return choose_mode(case.model, mode, physical_batch_size=4, memory_budget=budget)


def test_lora_is_factored_while_its_gradients_fit_and_ghost_beyond(lora_case: Callable[..., Any]) -> None:
    case = lora_case("llama")
    need = 4 * 4 * sum(parameter.numel() for parameter in case.parameters)
    assert _choice(case, budget=need).mode == "factored"
    beyond = _choice(case, budget=need - 1)
    assert beyond.mode == "ghost"
    assert f"need {need / 2**20:.1f} MiB" in beyond.reason


def test_checkpointing_without_reentry_is_left_to_the_factored_mode(lora_case: Callable[..., Any]) -> None:
    case = lora_case("llama", reentrant=False)
    assert _choice(case, budget=0).mode == "factored"
    for mode in ("hooks", "ghost"):
        with pytest.raises(InvalidInputError, match="use_reentrant=False"):
            _choice(case, mode)


def test_layers_without_a_rule_go_to_opacus_and_the_log_says_why(linear_case: Callable[..., Any]) -> None:
    import torch

    case = linear_case()
    case.model = torch.nn.Conv1d(1, 1, 1)
    choice = _choice(case)
    assert choice.mode == "hooks"
    assert "not factored: no rule for weight" in choice.reason


def test_tied_trainable_embeddings_are_refused_under_ghost_clipping(lora_case: Callable[..., Any]) -> None:
    case = lora_case("llama")
    case.model = case.model.base_model.unload()
    case.model.requires_grad_(False)
    case.model.get_input_embeddings().weight.requires_grad_(True)
    with pytest.raises(InvalidInputError, match="tied"):
        _choice(case, "ghost")
    assert _choice(case, budget=0).mode == "factored"
