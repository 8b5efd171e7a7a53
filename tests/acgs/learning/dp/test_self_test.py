from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.errors import InvalidInputError


def _run(case: Any, **options: Any) -> None:
    from acgs.learning.dp.self_test import self_test

    self_test(case.engine(**options), case.model, case.batch, case.losses_of)


@pytest.mark.parametrize("mode", ["factored", "hooks", "ghost"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "bert", "minilm"])
def test_supported_models_pass(lora_case: Callable[..., Any], architecture: str, mode: str) -> None:
    _run(lora_case(architecture), mode=mode)


@pytest.mark.parametrize("reentrant", [True, False])
def test_dropout_and_checkpointing_pass_and_weights_are_as_before(
    lora_case: Callable[..., Any], reentrant: bool
) -> None:
    import torch

    case = lora_case("bert", lora_dropout=0.5, reentrant=reentrant)
    for module in case.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    before = case.flat()
    _run(case)
    assert torch.equal(case.flat(), before)
    assert all(parameter.grad is None for parameter in case.parameters)


def test_gradients_that_an_earlier_training_left_are_not_mistaken_for_a_fault(lora_case: Callable[..., Any]) -> None:
    case = lora_case("llama")
    case.losses_of(case.model, case.batch).mean().backward()
    assert any(parameter.grad is not None for parameter in case.parameters)
    _run(case)


def test_a_loss_over_the_tokens_of_the_whole_batch_is_found(lora_case: Callable[..., Any]) -> None:
    """What a transformers model computes from `labels=`: every example's gradient depends on the others' masks."""
    case = lora_case("llama")
    own = case.losses_of
    case.losses_of = lambda model, batch: own(model, batch) * batch["mask"].sum(1) / batch["mask"].sum()
    with pytest.raises(InvalidInputError, match="mixes examples"):
        _run(case)


@pytest.mark.parametrize("mode", ["factored", "hooks", "ghost"])
def test_a_layer_that_mixes_examples_is_found(linear_case: Callable[..., Any], mode: str) -> None:
    case = linear_case()
    case.losses_of = lambda model, batch: (model(batch["rows"]) - model(batch["rows"]).mean(0)).square().squeeze(1) + 1
    own = case.losses_of
    case.losses_of = lambda model, batch: own(model, batch) + model(batch["rows"]).squeeze(1)
    with pytest.raises((InvalidInputError, NotImplementedError)):
        _run(case, mode=mode)


def test_a_layer_that_flattens_examples_is_found(linear_case: Callable[..., Any]) -> None:
    """As experts do, which see a row of tokens from all examples."""
    case = linear_case(4)
    case.batch["rows"] = case.batch["rows"].repeat(1, 2)
    case.losses_of = lambda model, batch: model(batch["rows"].view(-1, 4)).view(-1, 2).square().mean(1)
    with pytest.raises(InvalidInputError, match="first dimension"):
        _run(case)


def test_a_wrong_rule_for_a_layer_is_found(lora_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from acgs.learning.dp import per_example

    case = lora_case("llama")
    plain = per_example.Matrices.squared_norms
    monkeypatch.setattr(per_example.Matrices, "squared_norms", lambda form: plain(form) * 0.99)
    with pytest.raises(InvalidInputError, match="differ from one example at a time"):
        _run(case)


def test_an_error_in_a_is_found_while_b_is_still_zero(
    lora_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LoRA starts: A's gradients are 0 then, and a wrong norm of 0 is right."""
    import torch

    from acgs.learning.dp import per_example

    case = lora_case("llama")
    for name, parameter in case.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    plain = per_example.Matrices.squared_norms
    monkeypatch.setattr(
        per_example.Matrices,
        "squared_norms",
        lambda form: plain(form) * (0.9 if form.gradients.shape[1] == 4 else 1),
    )
    with pytest.raises(InvalidInputError, match="differ from one example at a time"):
        _run(case)


def test_one_example_is_not_enough_to_see_coupling(linear_case: Callable[..., Any]) -> None:
    case = linear_case()
    case.batch["rows"] = case.batch["rows"][:1]
    with pytest.raises(InvalidInputError, match="two examples"):
        _run(case)
