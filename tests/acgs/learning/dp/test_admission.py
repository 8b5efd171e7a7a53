from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.errors import InvalidInputError

SOUND = {
    "poisson_sampling": True,
    "packing": False,
    "unit": "record",
    "loss_scaling": False,
    "trainer_max_grad_norm": 0.0,
}


def test_a_sound_run_is_admitted() -> None:
    from acgs.learning.dp.admission import check_run

    check_run(**SOUND)
    check_run(**{**SOUND, "packing": True, "unit": "sequence"})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"poisson_sampling": False}, "Poisson"),
        ({"packing": True}, "packing"),
        ({"packing": True, "unit": "user"}, "packing"),
        ({"loss_scaling": True}, "scaler"),
        ({"trainer_max_grad_norm": 1.0}, "clipping of the mean"),
    ],
    ids=str,
)
def test_settings_that_void_epsilon_are_refused(setting: dict[str, Any], message: str) -> None:
    """Shuffled batches under a Poisson epsilon, rows of several documents, a gradient scaler, a second clipping."""
    from acgs.learning.dp.admission import check_run

    with pytest.raises(InvalidInputError, match=message):
        check_run(**{**SOUND, **setting})


@pytest.mark.parametrize(
    ("lora", "message"),
    [({"use_dora": True}, "DoRA"), ({"trainable_token_indices": [1, 2]}, "trainable_token_indices")],
    ids=str,
)
def test_adapters_without_a_per_example_gradient_are_refused(
    lora_case: Callable[..., Any], lora: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        lora_case("llama", **lora).engine()


@pytest.mark.parametrize("init", ["eva", "corda", "lora_ga"])
def test_initialisations_that_read_private_data_are_refused(lora_case: Callable[..., Any], init: str) -> None:
    """They touch the data outside the ledger."""
    case = lora_case("llama")
    case.model.peft_config["default"].init_lora_weights = init
    with pytest.raises(InvalidInputError, match=init):
        case.engine()


@pytest.mark.parametrize("init", [True, "gaussian", "olora", "pissa_niter_4"])
def test_initialisations_from_the_base_weights_are_admitted(lora_case: Callable[..., Any], init: Any) -> None:
    lora_case("llama", init_lora_weights=init).engine()


def test_a_model_in_evaluation_mode_is_refused(lora_case: Callable[..., Any]) -> None:
    """Models are loaded in evaluation mode, where hooks see nothing."""
    case = lora_case("llama")
    next(case.model.children()).eval()
    with pytest.raises(InvalidInputError, match=r"model\.train"):
        case.engine()


def test_batch_norm_is_refused(linear_case: Callable[..., Any]) -> None:
    import torch

    case = linear_case()
    case.model = torch.nn.Sequential(case.model, torch.nn.BatchNorm1d(1))
    with pytest.raises(InvalidInputError, match="batch norm"):
        case.engine()


def test_weights_in_bfloat16_are_refused(lora_case: Callable[..., Any]) -> None:
    """Their gradients, and so the noise, would be in bfloat16."""
    import torch

    case = lora_case("llama")
    case.model.to(torch.bfloat16)
    with pytest.raises(InvalidInputError, match="float32"):
        case.engine()


def test_distributed_data_parallel_is_refused(linear_case: Callable[..., Any], tmp_path: Any) -> None:
    """It would sum gradients over ranks in the backward pass, before clipping and noise."""
    import torch
    from torch import distributed

    case = linear_case()
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        case.model = torch.nn.parallel.DistributedDataParallel(case.model)
        with pytest.raises(InvalidInputError, match="DistributedDataParallel"):
            case.engine()
    finally:
        distributed.destroy_process_group()


def test_a_parameter_outside_the_layers_is_refused(linear_case: Callable[..., Any]) -> None:
    import torch

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(8, 1)
            self.scale = torch.nn.Parameter(torch.ones(1))

    case = linear_case()
    case.model = Scaled()
    with pytest.raises(InvalidInputError, match="scale"):
        case.engine(mode="factored")


def test_an_embedding_that_counts_over_the_batch_is_refused(linear_case: Callable[..., Any]) -> None:
    import torch

    case = linear_case()
    case.model = torch.nn.Embedding(5, 3, scale_grad_by_freq=True)
    with pytest.raises(InvalidInputError, match="no rule for weight"):
        case.engine(mode="factored")


def test_a_model_without_a_trainable_parameter_is_refused(linear_case: Callable[..., Any]) -> None:
    from acgs.learning.dp.admission import check_model

    model = linear_case().model.requires_grad_(False)
    with pytest.raises(InvalidInputError, match="no trainable parameter"):
        check_model(model)


def test_an_optimizer_of_other_tensors_is_refused(lora_case: Callable[..., Any]) -> None:
    """As after a move to the device: it would step tensors that the live model no longer holds."""
    import torch

    from acgs.learning.dp.engine import PrivateGradients

    case = lora_case("llama")
    stale = [parameter.detach().clone().requires_grad_() for parameter in case.parameters]
    for tensors in (stale, case.parameters[1:]):
        with pytest.raises(InvalidInputError, match="does not hold exactly"):
            PrivateGradients(
                case.model,
                torch.optim.SGD(tensors, lr=0.1),
                noise_multiplier=1.0,
                max_grad_norm=1.0,
                expected_batch_size=4,
                physical_batch_size=4,
            )
