"""Exact clipping with one forward and one backward pass, for the layers of `acgs.learning.dp.layers`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.layers import replace_forward, restore_forward
from acgs.learning.dp.methods import clip_weights, require_finite
from acgs.learning.dp.per_example import PerExample, added


class Factored:
    """Records per-example gradients during the one backward pass, then weighs and adds them.

    Args:
        model: every trainable parameter belongs to a supported layer (`acgs.learning.dp.admission.check_model`).
        parameters: the trainable parameters, in the order of the totals.
    """

    def __init__(self, model: nn.Module, parameters: list[nn.Parameter]) -> None:
        self.enabled = True
        self._parameters = parameters
        self._batch = 0
        self._found: dict[int, PerExample] = {}
        self._layers = [
            module
            for module in model.modules()
            if any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        ]
        for layer in self._layers:
            replace_forward(layer, self)

    def require_batch(self, rows: int) -> None:
        """Called by a layer in the backward pass."""
        if not self._batch:
            raise InvalidInputError("call PrivateGradients.backward(losses), not losses.backward()")
        if rows != self._batch:
            raise InvalidInputError(
                f"a trainable layer saw {rows} rows for {self._batch} losses; its first dimension must be the batch "
                "(pass position_ids per row; layers that mix or flatten examples cannot be trained privately)"
            )

    def record(self, parameter: nn.Parameter, gradients: PerExample) -> None:
        """Called by a layer in the backward pass; a parameter used twice adds up."""
        earlier = self._found.get(id(parameter))
        self._found[id(parameter)] = gradients if earlier is None else added(earlier, gradients)

    def add_clipped_sums(self, losses: torch.Tensor, max_grad_norm: float, totals: list[torch.Tensor]) -> None:
        """See `ClippingMethod`."""
        self._batch = len(losses)
        try:
            require_finite(losses)
            losses.sum().backward()
            if not self._found:
                raise InvalidInputError("no gradient reached a trainable layer; call enable_input_require_grads()")
            squared = torch.stack([gradients.squared_norms() for gradients in self._found.values()]).sum(0)
            weights = clip_weights(squared, max_grad_norm)
            for parameter, total in zip(self._parameters, totals, strict=True):
                gradients = self._found.pop(id(parameter), None)
                if gradients is not None:
                    gradients.add_weighted_sum(weights, total)
        finally:
            self._batch = 0
            self._found.clear()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """See `ClippingMethod`."""
        self.enabled = False
        try:
            yield
        finally:
            self.enabled = True

    def close(self) -> None:
        """See `ClippingMethod`."""
        for layer in self._layers:
            restore_forward(layer)
        self._layers.clear()
