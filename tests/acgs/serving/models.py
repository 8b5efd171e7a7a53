"""Small real models for the tests, whose versions can be told apart by what they answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acgs.serving.packing import pack_sklearn

ROW = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
NUMBER = {"type": "number"}


def write_constant(folder: Path, value: float) -> Path:
    """A regressor of two features that always answers `value`."""
    from sklearn.dummy import DummyRegressor

    model = DummyRegressor(strategy="constant", constant=value)
    model.fit(np.zeros((2, 2)), np.zeros(2))
    pack_sklearn(model, folder, instance=ROW, prediction=NUMBER, probes=[[[0.0, 1.0]]])
    return folder
