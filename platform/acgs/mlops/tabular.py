"""From a table to a registered version in one call, for users of scikit-learn and LightGBM."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from acgs.errors import InvalidInputError, UnavailableError
from acgs.files import write_atomic
from acgs.mlops.manager import MLOpsManager
from acgs.mlops.splitting import keep_back
from acgs.release.staging.compliance import SENTENCE
from acgs.security.roles import Permission
from acgs.serving.packing import pack_lightgbm, pack_sklearn

FEWEST_ROWS: Final = 20
PROBES: Final = 3
HELD_OUT_FOLDER: Final = "held-out"
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A registered version, and the rows that were kept back: give them to staging and contract."""

    version: dict[str, Any]
    held_out: Path


def train_and_version_model(
    X: Any,  # noqa: N803 - scikit-learn's name
    y: Any,
    name: str,
    *,
    estimator: Any | Literal["lightgbm"] | None = None,
    held_out_share: float = 0.25,
    seed: int = 0,
    statement: str = SENTENCE,
    manager: MLOpsManager | None = None,
    **create: Any,
) -> TrainedVersion:
    """Fit a classifier or regressor, measure it on rows that it has not seen, and register it with where it came from.

    Args:
        X: numbers, shape (n, features). What is missing is NaN where the estimator takes it.
        y: labels, shape (n,): classes (numbers without fraction, or texts), or measured values.
        name: the model's.
        estimator: any scikit-learn estimator that is not fitted yet, or 'lightgbm'; default: a gradient-boosted tree.
        held_out_share: of the rows that are kept back. With one `seed` a row stays on its side in every later table.
        statement: the sentence in which governance reads an answer that is no text, with '{prediction}' in it.
        create: see `MLOpsManager.create_model_version`.

    Raises:
        InvalidInputError: table and labels do not fit each other, or are too few.
        ForbiddenError: the caller may not register versions; nothing is fitted.
        UnavailableError: LightGBM is not installed.
        AcgsError: the registry cannot be used.
    """
    table, labels = _checked(X, y)
    manager = manager or MLOpsManager()
    manager.act(Permission.MODEL_CREATE)
    classes = _classes(labels)
    train, kept = keep_back(table, labels, held_out_share, seed, by_class=classes is not None)
    with tempfile.TemporaryDirectory(prefix="acgs-model-") as folder:
        package = Path(folder)
        common = {
            "instance": {
                "type": "array",
                "items": {"type": ["number", "null"]} if np.isnan(table).any() else {"type": "number"},
                "minItems": table.shape[1],
                "maxItems": table.shape[1],
            },
            "probes": [_plain(table[kept[:PROBES]])],
            "metadata": {"statement": statement, "seed": seed, "trained_on_rows": len(train)},
        }
        task = _Task(table, labels, train, kept, classes, seed)
        if isinstance(estimator, str):
            answers, library = _fit_lightgbm(task, estimator, package, common)
        else:
            answers, library = _fit_sklearn(task, estimator, package, common)
        made = manager.create_model_version(
            name,
            package,
            performance_metrics=_scores(labels[kept], answers, classes),
            data=[{"name": f"{name} training rows", "digest": _digest(table[train], labels[train])}],
            dependencies={library: installed(library) for library in ("numpy", library)},
            **create,
        )
    rows = _held_out_rows(table, labels, kept)
    place = manager.settings.state_dir.resolve() / HELD_OUT_FOLDER / f"{name}-{made['version']}.jsonl"
    # The rows are people's data as often as not, and whoever has read them can train on them.
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(place, rows, mode=0o600)
    return TrainedVersion(made, place)


@dataclass(frozen=True, slots=True)
class _Task:
    table: _Array
    labels: _Array
    train: _Array
    kept: _Array
    classes: list[Any] | None
    seed: int


def _checked(X: Any, y: Any) -> tuple[_Array, _Array]:  # noqa: N803
    try:
        table = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError("X holds something that is no number; encode it first", field="X") from error
    if np.isinf(table).any():
        raise InvalidInputError("X holds an infinite number; what is missing is NaN", field="X")
    labels = np.asarray(y)
    if table.ndim != 2 or labels.ndim != 1 or len(table) != len(labels):
        raise InvalidInputError("X has the shape (n, features) and y (n,), with one n", field="y")
    if len(table) < FEWEST_ROWS:
        raise InvalidInputError(f"{len(table)} rows are fewer than {FEWEST_ROWS}", field="X")
    if labels.dtype.kind not in "biufU" or (labels.dtype.kind == "f" and not np.isfinite(labels).all()):
        raise InvalidInputError("y holds labels that are neither numbers nor texts", field="y")
    return table, labels


def _classes(labels: _Array) -> list[Any] | None:
    """The classes; None for measured values."""
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        return None
    found = np.unique(labels)
    if len(found) < 2:
        raise InvalidInputError("all labels are the same; there is nothing to learn", field="y")
    listed: list[Any] = found.tolist()
    return listed


def _fit_sklearn(task: _Task, estimator: Any, package: Path, common: dict[str, Any]) -> tuple[_Array, str]:
    """Fit and pack; the answers to the rows kept back, and the library."""
    if estimator is None:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingRegressor if task.classes is None else HistGradientBoostingClassifier
        estimator = kind(random_state=task.seed)
    try:
        model = estimator.fit(task.table[task.train], task.labels[task.train])
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidInputError(f"the estimator cannot be fitted: {error}", field="estimator") from error
    answers: _Array = np.asarray(model.predict(task.table[task.kept]))
    pack_sklearn(model, package, prediction=_answer_schema(task.labels), **common)
    return answers, "scikit-learn"


def _fit_lightgbm(task: _Task, named: str, package: Path, common: dict[str, Any]) -> tuple[_Array, str]:
    if named != "lightgbm":
        raise InvalidInputError("estimator is 'lightgbm', or a scikit-learn estimator", field="estimator")
    try:
        import lightgbm
    except ImportError as error:
        raise UnavailableError("LightGBM needs the extra 'models': pip install 'acgs[models]'") from error
    classes = task.classes
    if classes is not None and classes != list(range(len(classes))):
        raise InvalidInputError("a LightGBM model answers with class numbers: number the labels from 0", field="y")
    options: dict[str, Any] = {"seed": task.seed, "num_threads": 1, "deterministic": True, "verbose": -1}
    # Two classes are 'multiclass', too: such a booster answers with the class, not with a probability.
    options |= (
        {"objective": "regression"} if classes is None else {"objective": "multiclass", "num_class": len(classes)}
    )
    rows = lightgbm.Dataset(task.table[task.train], label=task.labels[task.train].astype(np.float64))
    booster = lightgbm.train(options, rows, num_boost_round=100)
    scores: _Array = np.asarray(booster.predict(task.table[task.kept], num_threads=1))
    pack_lightgbm(booster, package, prediction=_answer_schema(task.labels), **common)
    return (scores if classes is None else scores.argmax(axis=1)), "lightgbm"


def _answer_schema(labels: _Array) -> dict[str, Any]:
    return {"type": {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}.get(labels.dtype.kind, "string")}


def _scores(labels: _Array, answers: _Array, classes: list[Any] | None) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

    if classes is None:
        return {"r2": float(r2_score(labels, answers)), "mae": float(mean_absolute_error(labels, answers))}
    return {
        "accuracy": float(accuracy_score(labels, answers)),
        "f1": float(f1_score(labels, answers, average="macro")),
    }


def _held_out_rows(table: _Array, labels: _Array, kept: _Array) -> bytes:
    rows = zip(kept.tolist(), _plain(table[kept]), labels[kept].tolist(), strict=True)
    lines = (json.dumps({"id": f"row-{place}", "input": row, "label": label}) for place, row, label in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _plain(table: _Array) -> list[Any]:
    """Rows as JSON has them: what is missing is null."""
    return [[None if np.isnan(value) else value for value in row] for row in table.tolist()]


def _digest(table: _Array, labels: _Array) -> str:
    listed = json.dumps([_plain(table), labels.tolist()], separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(listed.encode()).hexdigest()
