"""scikit-learn models in skops files: no pickle, and no type that this list does not know."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from acgs.errors import InvalidInputError, UnavailableError
from acgs.serving.package import Package
from acgs.serving.runtimes.runtime import (
    ModelFailedError,
    ModelRefusedError,
    Predictions,
    TabularParameters,
    read_parameters,
)
from acgs.serving.runtimes.tables import matrix, plain

MAX_UNPACKED_BYTES: Final = 4 * 1024**3
MAX_SCHEMA_BYTES: Final = 64 * 1024**2

ALLOWED_TYPES: Final = frozenset({
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
})  # fmt: skip
"""What a package may name in `trusted_types`, beyond the estimators and arrays that skops itself trusts.

Each is a plain holder of numbers: building one runs no code that the file chooses.
"""


class SklearnRuntime:
    """A fitted estimator or pipeline."""

    joins = True
    brief = True

    def __init__(self, package: Package) -> None:
        """Load it.

        Raises:
            InvalidInputError: the file is no skops file, or holds a type that is not trusted; it is named.
            UnavailableError: skops is not installed.
        """
        trusted = package.descriptor.trusted_types
        unknown = sorted(set(trusted) - ALLOWED_TYPES)
        if unknown:
            raise InvalidInputError(f"the type {unknown[0]} is not on the list of allowed types", field="trusted_types")
        self._columns = package.input.columns
        self._texts = package.input.document.get("type") == "string"
        self._model = _load(package.entry, trusted)
        if not hasattr(self._model, "predict"):
            raise InvalidInputError(f"{type(self._model).__name__} cannot predict", field="entry")

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        """See `Runtime.predict`."""
        asked = read_parameters(TabularParameters, parameters)
        rows = list(instances) if self._texts else matrix(instances, self._columns)
        if asked.probabilities and not hasattr(self._model, "predict_proba"):
            raise InvalidInputError("this model gives no probabilities", field="parameters.probabilities")
        features = None if self._texts else getattr(self._model, "n_features_in_", None)
        if features is not None and np.shape(rows)[1] != features:
            raise InvalidInputError(
                f"the model has {features} features, the instances {np.shape(rows)[1]}", field="instances"
            )
        try:
            values = self._model.predict(rows)
            probabilities = self._model.predict_proba(rows) if asked.probabilities else None
        except (ValueError, TypeError, IndexError) as error:
            raise ModelRefusedError(
                f"the model cannot take these instances ({type(error).__name__})", field="instances"
            ) from error
        except ArithmeticError as error:
            raise ModelFailedError(f"the model failed ({type(error).__name__})") from error
        return Predictions(plain(values), None if probabilities is None else plain(probabilities))

    def close(self) -> None:
        """See `Runtime.close`."""


def _load(path: Path, trusted: Sequence[str]) -> Any:
    try:
        from skops.io import get_untrusted_types, load
        from skops.io._protocol import PROTOCOL
        from skops.io.exceptions import UntrustedTypesFoundException
    except ImportError as error:
        raise UnavailableError("scikit-learn models need the extra 'models': pip install 'acgs[models]'") from error
    try:
        _check_archive(path, PROTOCOL)
        untrusted = sorted(set(get_untrusted_types(file=path)) - set(trusted))
        if untrusted:
            raise InvalidInputError(
                f"the model holds the type {untrusted[0]}, which its package does not trust", field="trusted_types"
            )
        return load(path, trusted=list(trusted))
    except UntrustedTypesFoundException as error:
        raise InvalidInputError(
            "the model holds a type that its package does not trust", field="trusted_types"
        ) from error
    except InvalidInputError:
        raise
    # A broken file makes skops, zipfile, numpy and scikit-learn raise nearly anything.
    except Exception as error:
        raise InvalidInputError(
            f"the skops file cannot be loaded ({type(error).__name__}); write it again with this version of skops",
            field="entry",
        ) from error


def _check_archive(path: Path, protocol: int) -> None:
    """Bounds, and the present protocol only: readers of older ones have had holes."""
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED_BYTES:
            raise InvalidInputError(f"the skops file unpacks to more than {MAX_UNPACKED_BYTES} bytes", field="entry")
        if archive.getinfo("schema.json").file_size > MAX_SCHEMA_BYTES:
            raise InvalidInputError("the schema of the skops file is too long", field="entry")
        found = json.loads(archive.read("schema.json")).get("protocol")
    if found != protocol:
        raise InvalidInputError(f"the skops file has protocol {found}; write it again with {protocol}", field="entry")
