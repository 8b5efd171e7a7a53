"""The table of kinds. A new kind is one module and one line here; the contract suite then tests it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from acgs.serving.package import Kind, Package
from acgs.serving.runtimes.lora import BaseResolver
from acgs.serving.runtimes.runtime import Runtime

Opener = Callable[[Package, BaseResolver], Runtime]


def _sklearn(package: Package, _resolve: BaseResolver) -> Runtime:
    from acgs.serving.runtimes.sklearn import SklearnRuntime

    return SklearnRuntime(package)


def _lightgbm(package: Package, _resolve: BaseResolver) -> Runtime:
    from acgs.serving.runtimes.lightgbm import LightgbmRuntime

    return LightgbmRuntime(package)


def _onnx(package: Package, _resolve: BaseResolver) -> Runtime:
    from acgs.serving.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(package)


def _lora(package: Package, resolve: BaseResolver) -> Runtime:
    from acgs.serving.runtimes.lora import LoraRuntime

    return LoraRuntime(package, resolve)


OPENERS: Final[Mapping[Kind, Opener]] = {
    Kind.SKLEARN: _sklearn,
    Kind.LIGHTGBM: _lightgbm,
    Kind.ONNX: _onnx,
    Kind.LORA: _lora,
}


def open_runtime(package: Package, resolve: BaseResolver) -> Runtime:
    """Load a package's model.

    Raises:
        InvalidInputError: the files are no model of the kind that the package states.
        UnavailableError: a library for the kind, or a base, is missing.
    """
    return OPENERS[package.descriptor.kind](package, resolve)
