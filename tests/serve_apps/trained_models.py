"""Three models as training leaves them, each with a successor that is as good on held-out rows and fails in production.

Nothing in the product is told to fail: each successor has a fault that models have in earnest.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acgs.files import write_atomic
from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Message, Record
from acgs.learning.revision.assessment import Assessment, Case
from acgs.mlops import MLOpsManager, train_and_version_model
from acgs.serving.packing import pack_lightgbm, write_package

WORDS = ("garden", "herbs", "small", "trees", "near", "old", "stone", "wall", "spring", "rain", "bees", "visit")
STATEMENT = "The answer of the model is {prediction}."
BULK = 500
"""Instances in one request of the bulk model; each held-out row is asked for alone."""
ROUNDS = 2000
ANSWER = "yes"
REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"


@dataclass(frozen=True)
class Trained:
    """Two versions of one model. `usual` is a request like the held-out rows, `unusual` one that they do not have."""

    name: str
    first: str
    second: str
    held_out: Path
    usual: list[Any]
    unusual: list[Any]
    why: str
    """What the rollback's reason says."""

    def instances(self, *, unusual: bool) -> list[Any]:
        """Of one request."""
        return self.unusual if unusual else self.usual


def train_wards(manager: MLOpsManager, _folder: Path) -> Trained:
    """scikit-learn. The successor encodes categories, and raises for a ward that it has never seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = np.random.default_rng(0).integers(0, 8, size=(1200, 4)).astype(np.float64)
    labels = (rows.sum(axis=1) > 14).astype(int)
    first = train_and_version_model(rows, labels, "wards", estimator=LogisticRegression(C=10.0), manager=manager)
    encoding = make_pipeline(OneHotEncoder(), LogisticRegression(C=10.0))
    second = train_and_version_model(rows, labels, "wards", estimator=encoding, manager=manager)
    return Trained(
        "wards", first.version["version"], second.version["version"], first.held_out,
        usual=[[1.0, 2.0, 3.0, 0.0]], unusual=[[9.0, 2.0, 3.0, 0.0]], why="errors beyond the baseline's",
    )  # fmt: skip


def train_bulk(manager: MLOpsManager, folder: Path) -> Trained:
    """LightGBM. The successor has twenty times the trees: nobody notices with one row, everybody with five hundred."""
    import lightgbm

    draw = np.random.default_rng(1)
    rows = draw.normal(size=(1600, 4))
    labels = (rows @ np.array([1.0, -1.0, 0.5, 0.0]) > 0).astype(int)
    first = train_and_version_model(rows, labels, "bulk", estimator="lightgbm", manager=manager)
    kept = {json.loads(line)["id"] for line in first.held_out.read_text().splitlines()}
    train = [place for place in range(len(rows)) if f"row-{place}" not in kept]
    options = {
        "objective": "multiclass", "num_class": 2, "learning_rate": 0.01, "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    booster = lightgbm.train(options, lightgbm.Dataset(rows[train], labels[train]), num_boost_round=ROUNDS)
    pack_lightgbm(
        booster, folder / "bulk", instance={"type": "array", "items": {"type": "number"}},
        prediction={"type": "integer"}, probes=[rows[:3].tolist()], metadata={"statement": STATEMENT},
    )  # fmt: skip
    second = manager.create_model_version("bulk", folder / "bulk", parent=first.version["version"])
    return Trained(
        "bulk", first.version["version"], second["version"], first.held_out,
        usual=rows[:1].tolist(), unusual=rows[:BULK].tolist(), why="slower than the baseline's",
    )  # fmt: skip


def train_assistant(manager: MLOpsManager, folder: Path) -> Trained:
    """A LoRA adapter. The successor's chat template, like that of some public models, knows no system message."""
    adapter, base = _fine_tuned(folder)
    versions = []
    for name, template in (("first", ""), ("second", REFUSING)):
        package = folder / name
        shutil.copytree(base, package / "base")
        shutil.copytree(adapter, package / "adapter")
        chat = package / "base" / "chat_template.jinja"
        chat.write_text(template + chat.read_text(encoding="utf-8"), encoding="utf-8")
        fields = {
            "kind": "lora", "entry": "adapter", "base": {"folder": "base"}, "output": {"type": "string"},
            "input": {"anyOf": [{"type": "string", "maxLength": 200}, {"type": "object", "required": ["messages"]}]},
            "probes": [[_question(5000)]], "metadata": {"statement": STATEMENT},
        }  # fmt: skip
        write_package(package, fields)
        versions.append(manager.create_model_version("assistant", package)["version"])
    held_out = folder / "questions.jsonl"
    lines = (json.dumps({"id": f"q{n}", "input": _question(n), "label": ANSWER}) for n in range(6000, 6100))
    write_atomic(held_out, "".join(f"{line}\n" for line in lines).encode())
    chat_with_system = {
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": _question(7000)}]
    }
    return Trained(
        "assistant", versions[0], versions[1], held_out,
        usual=[_question(7001)], unusual=[chat_with_system], why="errors beyond the baseline's",
    )  # fmt: skip


TRAINERS: dict[str, Callable[[MLOpsManager, Path], Trained]] = {
    "sklearn": train_wards,
    "lightgbm": train_bulk,
    "lora": train_assistant,
}


class _Content:
    """A judge that minds nothing: the run's own evaluation is not what is tested here."""

    identity = "content"

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        return [Assessment(compliant=True, score=1.0) for _ in cases]


def _fine_tuned(folder: Path) -> tuple[Path, Path]:
    """Adapter and base after a real run: a tiny model learns that the answer to every question is yes."""
    import torch

    from acgs.learning.finetune.base_models import make_tiny, save_base
    from acgs.learning.finetune.config import RunConfig, TinyModel
    from acgs.learning.finetune.results import collect_adapter
    from acgs.learning.finetune.run import ADAPTER, Surroundings, TrainingRun

    torch.set_num_threads(1)
    with DatasetWriter(folder / "data") as writer:
        for number in range(72):
            turns = (Message(role="user", content=_question(number)), Message(role="assistant", content=ANSWER))
            record = Record(id=f"r{number}", messages=turns, source="test")
            writer.add(record, "train" if number < 64 else "validation")
        origin = hashlib.sha256(b"made").hexdigest()
        parent = Parent(name="made", digest=origin)
        writer.finish(parents=[parent], origins=[origin], operations=[Operation(name="made")])
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(f"{_question(number)} {ANSWER}" for number in range(1000, 1200)), encoding="utf-8")
    tiny = TinyModel(corpus=corpus, hidden_size=16, layers=1, heads=2, vocabulary=300, context=128)
    save_base(make_tiny(tiny), folder / "base")
    phase = {
        "kind": "sft", "data": folder / "data", "epochs": 20, "batch_size": 16, "micro_batch_size": 16,
        "max_length": 96, "learning_rate": 0.05,
    }  # fmt: skip
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "v_proj", "down_proj", "lm_head"]}
    config = RunConfig.model_validate(
        {"name": "assistant", "base_model": {"path": folder / "base"}, "phases": [phase], "lora": lora,
         "evaluation": {"max_prompts": 1, "max_new_tokens": 2}}
    )  # fmt: skip
    around = Surroundings(report=lambda _state, _save: None, open_judge=_Content, principles=["calm"])
    TrainingRun(config, folder / "run", around).execute()
    collect_adapter(config, folder / "run")
    return folder / "run" / ADAPTER, folder / "base"


def _question(number: int) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=5)) + "?"
