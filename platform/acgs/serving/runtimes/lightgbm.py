"""LightGBM boosters in their text format."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from acgs.errors import InvalidInputError, UnavailableError
from acgs.registry.artifacts.lightgbm_text import check_booster
from acgs.registry.artifacts.refusal import FormatError
from acgs.serving.package import Package
from acgs.serving.runtimes.runtime import ModelFailedError, Predictions, TabularParameters, read_parameters
from acgs.serving.runtimes.tables import matrix, plain

MAX_BYTES: Final = 1024**3


class LightgbmRuntime:
    """A booster. A binary model predicts the probability of its class 1, a multiclass one the number of the class."""

    joins = True
    brief = True

    def __init__(self, package: Package) -> None:
        """Load it.

        Raises:
            InvalidInputError: the file is too long, no booster, or one that LightGBM would crash or hang on.
            UnavailableError: LightGBM is not installed.
        """
        try:
            from lightgbm import Booster
            from lightgbm.basic import LightGBMError
        except ImportError as error:
            raise UnavailableError("LightGBM models need the extra 'models': pip install 'acgs[models]'") from error
        if package.entry.stat().st_size > MAX_BYTES:
            raise InvalidInputError(f"the booster has more than {MAX_BYTES} bytes", field="entry")
        try:
            # One reading: what is checked is what is loaded.
            data = package.entry.read_bytes()
            check_booster(io.BytesIO(data))
            text = data.decode("utf-8")
            self._booster = Booster(model_str=text)
        except FormatError as error:
            raise InvalidInputError(f"the booster is refused: {error.message}", field="entry") from None
        except (LightGBMError, UnicodeDecodeError) as error:
            raise InvalidInputError("the file is no LightGBM booster in text form", field="entry") from error
        self._failure = LightGBMError
        self._columns = package.input.columns
        header = text.split("Tree=", 1)[0].splitlines()
        self._objective = next(
            (line.split("=", 1)[1].split()[0] for line in header if line.startswith("objective=")), ""
        )

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        """See `Runtime.predict`."""
        asked = read_parameters(TabularParameters, parameters)
        rows = matrix(instances, self._columns)
        if rows.shape[1] != self._booster.num_feature():
            raise InvalidInputError(
                f"the model has {self._booster.num_feature()} features, the instances {rows.shape[1]}",
                field="instances",
            )
        try:
            scores = np.asarray(self._booster.predict(rows, num_threads=1))
        except self._failure as error:
            raise ModelFailedError("the booster failed") from error
        if asked.probabilities:
            return Predictions(plain(self._values(scores)), plain(self._probabilities(scores)))
        return Predictions(plain(self._values(scores)))

    def close(self) -> None:
        """See `Runtime.close`."""

    def _values(self, scores: Any) -> Any:
        return scores.argmax(axis=1) if scores.ndim == 2 and self._objective.startswith("multiclass") else scores

    def _probabilities(self, scores: Any) -> Any:
        if self._objective == "binary":
            return np.stack([1 - scores, scores], axis=1)
        if self._objective.startswith("multiclass"):
            return scores
        raise InvalidInputError("this model gives no probabilities", field="parameters.probabilities")
