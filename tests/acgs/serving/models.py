"""Small real models for the tests, whose versions can be told apart by what they answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from acgs.serving.package import Kind
from acgs.serving.packing import pack_lightgbm, pack_sklearn, write_package

ROW = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
NUMBER = {"type": "number"}
RECORD = {
    "type": "object",
    "properties": {"age": {"type": "number", "minimum": 0}, "dose": {"type": "number"}},
    "required": ["age", "dose"],
    "additionalProperties": False,
}
POINTS = np.random.default_rng(5).normal(size=(60, 2))
LABELS = (POINTS[:, 0] > 0).astype(int)
HIGH, LOW = [2.0, 0.0], [-2.0, 0.0]
"""Instances that every classifier here tells apart."""


def write_constant(folder: Path, value: float) -> Path:
    """A regressor of two features that always answers `value`."""
    from sklearn.dummy import DummyRegressor

    model = DummyRegressor(strategy="constant", constant=value)
    model.fit(np.zeros((2, 2)), np.zeros(2))
    pack_sklearn(model, folder, instance=ROW, prediction=NUMBER, probes=[[[0.0, 1.0]]])
    return folder


def write_sklearn(folder: Path, *, instance: dict[str, Any] = ROW, probe: Any = None) -> Path:
    """A forest: its trees are of a type that the package has to trust."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(5, random_state=0).fit(POINTS, LABELS)
    pack_sklearn(model, folder, instance=instance, prediction={"enum": [0, 1]}, probes=[[probe or HIGH]])
    return folder


def write_lightgbm(folder: Path) -> Path:
    """A binary booster."""
    import lightgbm

    options = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lightgbm.train(options, lightgbm.Dataset(POINTS, LABELS), num_boost_round=5)
    share = {"type": "number", "minimum": 0, "maximum": 1}
    pack_lightgbm(booster, folder, instance=ROW, prediction=share, probes=[[HIGH, LOW]])
    return folder


def write_onnx(folder: Path, *, batch: int | str = "n") -> Path:
    """The sum of a row's two numbers, and as 'probabilities' the row itself."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0),
            helper.make_node("Identity", ["x"], ["probabilities"]),
        ],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2])],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [batch]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 2]),
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"))
    fields = {"kind": Kind.ONNX, "entry": "model.onnx", "input": ROW, "output": NUMBER, "probes": [[HIGH]]}
    write_package(folder, fields)
    return folder


def write_lora(folder: Path) -> Path:
    """A fresh adapter on a tiny base in the same package, written with what `acgs train run` writes with."""
    from acgs.learning.finetune.adapters import attach
    from acgs.learning.finetune.base_models import make_tiny, save_base
    from acgs.learning.finetune.config import LoraSettings, TinyModel

    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder.parent / f"{folder.name}.txt"
    corpus.write_text("the quick brown fox jumps over the lazy dog\n" * 20, encoding="utf-8")
    base = make_tiny(TinyModel(corpus=corpus, hidden_size=32, layers=2, heads=2, vocabulary=300, context=128))
    save_base(base, folder / "base")
    adapter = attach(base.model, LoraSettings(r=2, alpha=4))
    adapter.save_pretrained(str(folder / "adapter"), safe_serialization=True)
    fields = {
        "kind": Kind.LORA,
        "entry": "adapter",
        "base": {"folder": "base"},
        "input": {"anyOf": [{"type": "string", "maxLength": 200}, {"type": "object", "required": ["messages"]}]},
        "output": {"type": "string"},
        "probes": [["the quick"]],
    }
    write_package(folder, fields)
    return folder


WRITERS: dict[Kind, Callable[[Path], Path]] = {
    Kind.SKLEARN: write_sklearn,
    Kind.LIGHTGBM: write_lightgbm,
    Kind.ONNX: write_onnx,
    Kind.LORA: write_lora,
}
"""One for each kind: the contract of runtimes runs over all."""
