"""Layers whose backward pass hands per-example gradients to a recorder instead of filling `.grad`.

The layer's computation is replaced by an autograd function, not observed by hooks: what the backward pass needs
travels through `save_for_backward`, so that gradient checkpointing works in both of torch's variants, and torch does
not compute the summed parameter gradient that nobody would use.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, Protocol

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding, linear
from transformers.pytorch_utils import Conv1D

from acgs.errors import InvalidInputError
from acgs.learning.dp.per_example import Matrices, PerExample, RowFactors, outer

_RECORDER = "_acgs_recorder"


class Recorder(Protocol):
    """Where per-example gradients go during the backward pass."""

    enabled: bool

    def record(self, parameter: nn.Parameter, gradients: PerExample) -> None:
        """Take one layer's gradients."""
        ...

    def require_batch(self, rows: int) -> None:
        """Refuse a layer whose first dimension is not the batch."""
        ...


def _by_example(tensor: torch.Tensor) -> torch.Tensor:
    """(batch, ..., width) as (batch, T, width)."""
    return tensor.reshape(tensor.shape[0], -1, tensor.shape[-1])


def _compute_type(inputs: torch.Tensor) -> torch.dtype:
    kind = inputs.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype


class _LinearFunction(torch.autograd.Function):
    """Linear or Conv1D, computed in autocast's type where that is on. `anchor` is a trainable parameter of the module:
    it makes torch run the backward pass even where the inputs need no gradient.
    """

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, anchor: nn.Parameter, module: Any, recorder: Recorder) -> torch.Tensor:
        kind = _compute_type(inputs)
        inputs = inputs.to(kind)
        ctx.save_for_backward(inputs if module.weight.requires_grad else inputs.new_empty(0))
        ctx.module, ctx.recorder = module, recorder
        return linear(inputs, _matrix(module).to(kind), None if module.bias is None else module.bias.to(kind))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (arrived,), (inputs,) = gradients, ctx.saved_tensors
        weight, bias = ctx.module.weight, ctx.module.bias
        ctx.recorder.require_batch(arrived.shape[0])
        by_example = _by_example(arrived)
        if weight.requires_grad:
            pair = (by_example, _by_example(inputs))
            ctx.recorder.record(weight, outer(*(reversed(pair) if type(ctx.module) is Conv1D else pair)))
        if bias is not None and bias.requires_grad:
            ctx.recorder.record(bias, Matrices(by_example.float().sum(1)))
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        return arrived @ _matrix(ctx.module).detach().to(arrived.dtype), None, None, None


def _matrix(module: Any) -> torch.Tensor:
    """The weight as (outputs, inputs); Conv1D keeps its transpose."""
    return module.weight.T if type(module) is Conv1D else module.weight


class _EmbeddingFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: torch.Tensor, anchor: nn.Parameter, module: Any, recorder: Recorder) -> torch.Tensor:
        ctx.save_for_backward(ids)
        ctx.module, ctx.recorder = module, recorder
        return embedding(ids, anchor, module.padding_idx)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (arrived,), (ids,) = gradients, ctx.saved_tensors
        module = ctx.module
        ctx.recorder.require_batch(arrived.shape[0])
        by_example, flat_ids = _by_example(arrived).float(), ids.reshape(ids.shape[0], -1)
        if module.padding_idx is not None:
            by_example = by_example * (flat_ids != module.padding_idx)[:, :, None]
        ctx.recorder.record(module.weight, RowFactors(flat_ids, by_example, module.num_embeddings))
        return None, None, None, None


class _LayerNormFunction(torch.autograd.Function):
    """In float32, as autocast keeps it."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, anchor: nn.Parameter, module: Any, recorder: Recorder) -> torch.Tensor:
        inputs = inputs.float()
        output, mean, inverse = torch.native_layer_norm(
            inputs, module.normalized_shape, module.weight, module.bias, module.eps
        )
        ctx.save_for_backward(inputs, mean, inverse)
        ctx.module, ctx.recorder = module, recorder
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (arrived,), (inputs, mean, inverse) = gradients, ctx.saved_tensors
        module, weight, bias = ctx.module, ctx.module.weight, ctx.module.bias
        ctx.recorder.require_batch(arrived.shape[0])
        if weight.requires_grad:
            ctx.recorder.record(weight, Matrices(_by_example(arrived * (inputs - mean) * inverse).sum(1)))
        if bias is not None and bias.requires_grad:
            ctx.recorder.record(bias, Matrices(_by_example(arrived).sum(1)))
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        to_inputs, _, _ = torch.ops.aten.native_layer_norm_backward(
            arrived, inputs, module.normalized_shape, mean, inverse, weight, bias, [True, False, False]
        )
        return to_inputs, None, None, None


FUNCTIONS: dict[type[nn.Module], type[torch.autograd.Function]] = {
    nn.Linear: _LinearFunction,
    Conv1D: _LinearFunction,
    nn.Embedding: _EmbeddingFunction,
    nn.LayerNorm: _LayerNormFunction,
}
"""Exact types, since a subclass may compute something else."""


def supported(module: nn.Module) -> bool:
    """Whether the module's own trainable parameters get exact per-example gradients here."""
    if type(module) is nn.Embedding:
        return not module.scale_grad_by_freq and module.max_norm is None and not module.sparse
    if type(module) is nn.LayerNorm:
        return len(module.normalized_shape) == 1 and module.weight is not None
    return type(module) in FUNCTIONS


def replace_forward(module: nn.Module, recorder: Recorder) -> None:
    """Let the module compute through its recording function while `recorder.enabled`; `restore_forward` undoes it.

    Raises:
        InvalidInputError: something else has replaced the computation already, such as an engine that was not closed.
    """
    if "forward" in vars(module):
        raise InvalidInputError("a layer's computation is replaced already; close the earlier engine first")
    vars(module)[_RECORDER] = recorder
    # A bound method, so that a deep copy of the model computes with its own weights.
    module.forward = MethodType(_forward, module)


def restore_forward(module: nn.Module) -> None:
    """Give the module its class's computation back."""
    del vars(module)["forward"], vars(module)[_RECORDER]


def _forward(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    recorder: Recorder = vars(module)[_RECORDER]
    if not recorder.enabled:
        return type(module).forward(module, inputs)
    anchor = next(parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad)
    return FUNCTIONS[type(module)].apply(inputs, anchor, module, recorder)
