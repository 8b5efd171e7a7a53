"""Opacus' two ways to clip, for layers and memory budgets that `Factored` does not serve.

The model is hooked, not wrapped, so that it keeps its names and its PEFT methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from opacus.grad_sample import GradSampleHooks, GradSampleHooksFastGradientClipping
from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.methods import clip_weights, require_finite
from acgs.learning.dp.per_example import Matrices


class _Hooked:
    """Hooks that can be switched off, and fields on parameters that must not outlive a pass."""

    def __init__(self, hooks: Any, parameters: list[Any], model: nn.Module) -> None:
        self._hooks = hooks
        self._parameters = parameters
        self._model = model

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """See `ClippingMethod`."""
        self._hooks.disable_hooks()
        try:
            yield
        finally:
            self._hooks.enable_hooks()

    def close(self) -> None:
        """See `ClippingMethod`."""
        self._hooks.cleanup()

    def _clear(self) -> None:
        """A norm of an earlier batch must never stand in for a parameter that this batch did not reach."""
        for parameter in self._parameters:
            parameter.grad = None
            parameter.grad_sample = None
            parameter._norm_sample = None
            parameter._forward_counter = 0
            parameter.__dict__.pop("_current_grad_sample", None)
        for module in self._model.modules():
            module.__dict__.pop("activations", None)
            module.__dict__.pop("max_batch_len", None)


class OpacusHooks(_Hooked):
    """One backward pass that keeps every parameter's gradient per example."""

    def __init__(self, model: nn.Module, parameters: list[nn.Parameter]) -> None:
        super().__init__(GradSampleHooks(model, loss_reduction="sum"), parameters, model)
        self._clear()

    def add_clipped_sums(self, losses: torch.Tensor, max_grad_norm: float, totals: list[torch.Tensor]) -> None:
        """See `ClippingMethod`."""
        try:
            require_finite(losses)
            losses.sum().backward()
            found = [
                (Matrices(parameter.grad_sample), total)
                for parameter, total in zip(self._parameters, totals, strict=True)
                if parameter.grad_sample is not None
            ]
            if any(len(gradients.gradients) != len(losses) for gradients, _ in found):
                raise InvalidInputError("a trainable layer's first dimension is not the batch; pass position_ids")
            squared = torch.stack([gradients.squared_norms() for gradients, _ in found]).sum(0)
            weights = clip_weights(squared, max_grad_norm)
            for gradients, total in found:
                gradients.add_weighted_sum(weights, total)
        finally:
            self._clear()


class OpacusGhost(_Hooked):
    """Two backward passes: the first for the norms alone, the second for the weighted sum (arXiv:2110.05679)."""

    def __init__(self, model: nn.Module, parameters: list[nn.Parameter]) -> None:
        super().__init__(GradSampleHooksFastGradientClipping(model, loss_reduction="sum"), parameters, model)
        self._clear()

    def add_clipped_sums(self, losses: torch.Tensor, max_grad_norm: float, totals: list[torch.Tensor]) -> None:
        """See `ClippingMethod`."""
        try:
            require_finite(losses)
            losses.sum().backward(retain_graph=True)
            norms = [parameter._norm_sample for parameter in self._parameters if parameter._norm_sample is not None]
            weights = clip_weights(torch.stack(norms).square().sum(0), max_grad_norm)
            for parameter in self._parameters:
                parameter.grad = None
            with self.suspended():
                (weights * losses).sum().backward()
            for parameter, total in zip(self._parameters, totals, strict=True):
                if parameter.grad is not None:
                    total.add_(parameter.grad)
        finally:
            self._clear()
