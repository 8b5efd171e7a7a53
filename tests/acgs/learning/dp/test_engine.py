from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.errors import InvalidInputError

ARCHITECTURES = ("llama", "qwen2", "gpt2", "bert", "minilm")
MODES = ("factored", "hooks", "ghost")


def _relative_error_of_a_step(case: Any, **options: Any) -> float:
    """Two physical batches and a step, against the oracle; about half of the examples are clipped."""
    gradients = case.gradients()
    norms = gradients.norm(dim=1)
    bound = float(norms.median()) * 1.01
    assert (norms > bound).any()
    assert (norms < bound).any()
    expected = ((bound / norms).clamp(max=1)[:, None] * gradients).sum(0) / 4
    engine, before = case.engine(max_grad_norm=bound, **options), case.flat()
    engine.backward(case.losses(slice(0, 3)))
    engine.backward(case.losses(slice(3, 4)))
    engine.step()
    moved = before - case.flat()
    engine.close()
    return float((moved - expected).norm() / expected.norm())


def _move(case: Any, engine: Any) -> Any:
    before = case.flat()
    engine.step()
    return before - case.flat()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_clipped_sum_is_that_of_one_example_at_a_time(
    lora_case: Callable[..., Any], architecture: str, mode: str
) -> None:
    # SGD adds the step to weights of size 0.1 in float32, which rounds the small step once more.
    assert _relative_error_of_a_step(lora_case(architecture), mode=mode) < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"length": 3},
        {"use_rslora": True},
        {"bias": "lora_only"},
        {"modules_to_save": ["lm_head"]},
        {"freeze_a": True},
        {"reentrant": True},
        {"reentrant": False},
        {"reentrant": False, "length": 3},
    ],
    ids=str,
)
def test_every_lora_option_is_exact_in_one_backward_pass(
    lora_case: Callable[..., Any], options: dict[str, Any]
) -> None:
    """Both forms of gradients, both variants of gradient checkpointing."""
    assert _relative_error_of_a_step(lora_case("qwen2", **options), mode="factored") < 1e-5


@pytest.mark.parametrize("length", [2, 64])
def test_every_supported_layer_is_exact(lora_case: Callable[..., Any], length: int) -> None:
    """Embedding with padding, layer norm, Conv1D and Linear with bias, all trained in full, a layer used twice."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    case = lora_case("llama", length=length)

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(120, 16, padding_idx=5)
            self.norm = nn.LayerNorm(16)
            self.wide = Conv1D(24, 16)
            self.narrow = nn.Linear(24, 16)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.embedding(ids)
            for _ in range(2):
                hidden = hidden + self.narrow(torch.tanh(self.wide(self.norm(hidden))))
            return hidden

    case.model = Stack().train()
    case.batch["ids"][:, 0] = 5
    case.batch["ids"][2] = 7
    case.losses_of = lambda model, batch: model(batch["ids"]).pow(3).mean((1, 2))
    assert _relative_error_of_a_step(case, mode="factored") < 1e-5


def test_tied_trainable_embeddings_add_up_before_they_are_clipped(lora_case: Callable[..., Any]) -> None:
    case = lora_case("llama")
    case.model = case.model.base_model.unload()
    for name, parameter in case.model.named_parameters():
        parameter.requires_grad_("embed_tokens" in name)
    assert _relative_error_of_a_step(case, mode="factored") < 1e-5
    with pytest.raises(InvalidInputError, match="tied"):
        case.engine(mode="ghost")


def test_dropout_masks_are_each_examples_own(lora_case: Callable[..., Any]) -> None:
    """With the masks of one forward pass, the sum is that of each example's own loss."""
    import torch

    case = lora_case("llama", lora_dropout=0.3)
    for module in case.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    torch.manual_seed(5)
    losses = case.losses()
    rows = [torch.autograd.grad(loss, case.parameters, retain_graph=True) for loss in losses]
    gradients = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    engine = case.engine(max_grad_norm=float(gradients.norm(dim=1).median()))
    expected = ((engine._max_grad_norm / gradients.norm(dim=1)).clamp(max=1)[:, None] * gradients).sum(0) / 4
    torch.manual_seed(5)
    engine.backward(case.losses())
    moved = _move(case, engine)
    assert float((moved - expected).norm() / expected.norm()) < 1e-5


def test_autocast_to_bfloat16_keeps_float32_sums_within_the_bound(lora_case: Callable[..., Any]) -> None:
    import torch

    case = lora_case("llama")
    plain = case.losses_of

    def in_bfloat16(model: Any, batch: Any) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return plain(model, batch)

    gradients = case.gradients()
    bound = 1e-3
    assert (gradients.norm(dim=1) > bound).all()
    case.losses_of = in_bfloat16
    engine = case.engine(max_grad_norm=bound, batch=1)
    for row in range(4):
        losses = case.losses(slice(row, row + 1))
        (total, *others) = sums = engine.clipped_sums(losses, bound)
        assert all(part.dtype == torch.float32 for part in (total, *others))
        flat = torch.cat([part.flatten() for part in sums])
        # The direction is rounded, the bound is not.
        assert float(flat.norm()) == pytest.approx(bound, rel=1e-5)
        assert float(torch.cosine_similarity(flat, gradients[row], dim=0)) > 0.99


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_batch_is_a_noisy_step_and_leaves_nothing_behind(linear_case: Callable[..., Any], mode: str) -> None:
    """Poisson batches may be empty: the model is not run on nothing, noise is added, the next batch is exact."""
    import torch

    case = linear_case()
    loud = case.engine(noise=_Constant(8.0), mode=mode)
    assert torch.allclose(_move(case, loud), torch.full((9,), 2.0))
    loud.close()
    assert _relative_error_of_a_step(case, mode=mode) < 1e-5


def test_ghost_clipping_forgets_the_norm_of_a_parameter_that_a_batch_does_not_reach(
    linear_case: Callable[..., Any],
) -> None:
    """Opacus leaves a parameter's last norm in place: a layer used by some batches only would be clipped by it."""
    import torch
    from torch import nn

    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.rarely = nn.Linear(3, 1), nn.Linear(3, 1)
            self.both = True

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.always(rows) + (self.rarely(1000 * rows) if self.both else 0)

    case = linear_case()
    case.model, case.batch = Sometimes(), {"rows": torch.ones(4, 3)}
    case.losses_of = lambda model, batch: model(batch["rows"]).squeeze(1)
    engine = case.engine(mode="ghost", max_grad_norm=100.0)
    engine.clipped_sums(case.losses(), 100.0)
    case.model.both = False
    sums = engine.clipped_sums(case.losses(), 100.0)
    assert torch.allclose(sums[0], torch.full((1, 3), 4.0))


def test_the_sum_is_divided_by_the_public_constant_not_by_the_batch(linear_case: Callable[..., Any]) -> None:
    import torch

    case = linear_case()
    expected = case.gradients()[:2].sum(0) / 64
    engine = case.engine(batch=64, max_grad_norm=1e6)
    engine.backward(case.losses(slice(0, 2)))
    assert torch.allclose(_move(case, engine), expected, rtol=1e-4)


def test_one_example_moves_the_sum_by_at_most_the_bound(linear_case: Callable[..., Any]) -> None:
    case = linear_case()
    case.batch["rows"] = case.batch["rows"] * 1e4
    engine = case.engine(batch=1, max_grad_norm=0.25)
    engine.backward(case.losses(slice(0, 1)))
    assert float(_move(case, engine).norm()) <= 0.25 * (1 + 1e-5)


def test_noise_has_the_declared_scale(linear_case: Callable[..., Any]) -> None:
    from acgs.learning.dp.randomness import FreshNoise

    case = linear_case(40_000)
    engine = case.engine(noise=FreshNoise(), noise_multiplier=1.5, max_grad_norm=2.0, batch=10)
    moved = _move(case, engine)
    # Standard error of the deviation is 1 / sqrt(2 n) = 0.35 %.
    assert float(moved.std()) == pytest.approx(1.5 * 2.0 / 10, rel=0.02)
    assert abs(float(moved.mean())) < 5 * 0.3 / 200
    again = _move(case, engine)
    assert abs(float((moved * again).mean())) < 5 * 0.09 / 200, "two steps share noise"


def test_a_gradient_from_elsewhere_is_refused(linear_case: Callable[..., Any]) -> None:
    """Such as `loss / k` accumulation, or a parameter that escapes the layers."""
    case = linear_case()
    engine = case.engine(mode="hooks")
    case.model.weight.grad = case.model.weight.detach().clone()
    with pytest.raises(InvalidInputError, match="unclipped gradient"):
        engine.step()
    with pytest.raises(InvalidInputError, match="unclipped gradient"):
        engine.backward(case.losses())


def test_a_backward_pass_outside_the_engine_is_refused(linear_case: Callable[..., Any]) -> None:
    case = linear_case()
    case.engine(mode="factored")
    with pytest.raises(InvalidInputError, match=r"PrivateGradients\.backward"):
        case.losses().mean().backward()


@pytest.mark.parametrize("mode", MODES)
def test_a_loss_that_is_not_finite_adds_nothing(linear_case: Callable[..., Any], mode: str) -> None:
    from acgs.learning.dp.methods import NonFiniteGradientError

    case = linear_case()
    engine = case.engine(mode=mode)
    for poison in (float("nan"), float("inf")):
        case.batch["rows"][2, 0] = poison
        with pytest.raises(NonFiniteGradientError):
            engine.backward(case.losses())
    assert float(_move(case, engine).abs().sum()) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_refused_batch_leaves_nothing_behind(linear_case: Callable[..., Any], mode: str) -> None:
    """Opacus keeps the activations of a forward pass whose backward never came, and takes the next batch for larger."""
    import torch

    from acgs.learning.dp.methods import NonFiniteGradientError

    case = linear_case()
    expected = case.gradients()[:2].sum(0) / 4
    engine = case.engine(mode=mode, max_grad_norm=1e6)
    sound, case.batch["rows"] = case.batch["rows"], case.batch["rows"] * float("nan")
    with pytest.raises(NonFiniteGradientError):
        engine.backward(case.losses())
    case.batch["rows"] = sound
    engine.backward(case.losses(slice(0, 2)))
    assert torch.allclose(_move(case, engine), expected, rtol=1e-4)


def test_a_gradient_that_overflows_is_refused_though_its_loss_is_finite(linear_case: Callable[..., Any]) -> None:
    import torch

    from acgs.learning.dp.methods import NonFiniteGradientError

    case = linear_case()
    engine = case.engine()
    losses = torch.sqrt(case.losses() * 0)
    with pytest.raises(NonFiniteGradientError):
        engine.backward(losses)
    assert float(_move(case, engine).abs().sum()) == 0


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (lambda case: case.losses().mean(), "one loss per example"),
        (lambda case: case.losses().detach(), "no trainable weight"),
        (lambda case: case.losses().repeat(3), "physical batch"),
        (lambda case: case.losses().repeat(2), "8 losses|4 rows"),
    ],
)
def test_losses_that_are_not_one_per_example_are_refused(
    linear_case: Callable[..., Any], losses: Callable[[Any], Any], message: str
) -> None:
    case = linear_case()
    with pytest.raises(InvalidInputError, match=message):
        case.engine().backward(losses(case))


@pytest.mark.parametrize("name", ["noise_multiplier", "max_grad_norm", "batch", "physical_batch_size"])
@pytest.mark.parametrize("number", [0, -1, float("nan"), float("inf")])
def test_numbers_without_privacy_are_refused(linear_case: Callable[..., Any], name: str, number: float) -> None:
    with pytest.raises(InvalidInputError, match="positive number"):
        linear_case().engine(**{name: number})


@pytest.mark.parametrize("mode", MODES)
def test_closing_leaves_an_ordinary_model(lora_case: Callable[..., Any], mode: str) -> None:
    case = lora_case("llama")
    expected = case.gradients()
    engine = case.engine(mode=mode)
    engine.clipped_sums(case.losses(), 1.0)
    engine.close()
    assert (case.gradients() == expected).all()
    assert not any("forward" in vars(module) for module in case.model.modules())


def test_a_copy_of_the_model_computes_with_its_own_weights(lora_case: Callable[..., Any]) -> None:
    """As for a merged export in mid-run."""
    import copy

    import torch

    case = lora_case("llama")
    case.engine(mode="factored")
    copied = copy.deepcopy(case.model)
    with torch.no_grad():
        before = case.losses()
        for parameter in copied.parameters():
            parameter.mul_(1.1)
        assert torch.equal(case.losses(), before)
        assert not torch.equal(case.losses_of(copied, case.batch), before)
        merged = copied.merge_and_unload()
        assert torch.allclose(case.losses_of(merged, case.batch), case.losses_of(copied, case.batch))


def test_two_engines_on_one_model_are_refused_until_the_first_is_closed(linear_case: Callable[..., Any]) -> None:
    case = linear_case()
    first = case.engine(mode="factored")
    with pytest.raises(InvalidInputError, match="close the earlier engine"):
        case.engine(mode="factored")
    first.close()
    case.engine(mode="factored")


def test_single_gradient_norms_stay_inside(linear_case: Callable[..., Any]) -> None:
    """Norms per example are private: after a step no attribute of engine, method or parameter holds one per example."""
    import torch

    for mode in MODES:
        case = linear_case()
        engine = case.engine(mode=mode)
        engine.backward(case.losses())
        engine.step()
        holders = (engine, engine._method, *case.parameters)
        leaks = [v for holder in holders for v in vars(holder).values() if isinstance(v, torch.Tensor) and len(v) == 4]
        assert leaks == []
        engine.close()


class _Constant:
    def __init__(self, value: float) -> None:
        self._value = value

    def add_normal(self, target: Any, deviation: float) -> None:
        target += self._value
