"""ONNX models on onnxruntime's CPU provider, within one thread and one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from acgs.serving.runtimes.tables import plain

MAX_BYTES: Final = 2 * 1024**3 - 1
"""A protocol buffer has no more."""
_TYPES: Final[Mapping[str, Any]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class OnnxRuntime:
    """A session. The first output is the prediction; the second, where there is one, the probabilities.

    With one input an instance is its row (an object's values in the order of the schema's properties); with several,
    an object with a value for each input by name.
    """

    def __init__(self, package: Package) -> None:
        """Load it.

        Raises:
            InvalidInputError: it is no ONNX model, keeps data in other files, or has inputs that cannot be fed.
            UnavailableError: onnxruntime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise UnavailableError("ONNX models need the extra 'models': pip install 'acgs[models]'") from error
        if package.entry.stat().st_size > MAX_BYTES:
            raise InvalidInputError(f"the model has more than {MAX_BYTES} bytes", field="entry")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            # From bytes: a model that points at files beside it, or elsewhere, is refused.
            self._session = onnxruntime.InferenceSession(
                package.entry.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        # The classes of onnxruntime's errors are made in C++ and share no base but this.
        except Exception as error:
            raise InvalidInputError(
                f"the file is no ONNX model that can be loaded ({type(error).__name__})", field="entry"
            ) from error
        self._columns = package.input.columns
        self._inputs = self._session.get_inputs()
        self._outputs = [output.name for output in self._session.get_outputs()]
        for entry in self._inputs:
            if entry.type not in _TYPES:
                raise InvalidInputError(f"input {entry.name} has type {entry.type}, which is not served", field="entry")
        sizes = {entry.shape[0] if entry.shape else None for entry in self._inputs}
        fixed = {size for size in sizes if isinstance(size, int)}
        if fixed - {1} or None in sizes:
            raise InvalidInputError("the first dimension of every input must be free, or 1", field="entry")
        self.joins = not fixed
        self.brief = False  # a graph may hold loops

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        """See `Runtime.predict`."""
        asked = read_parameters(TabularParameters, parameters)
        if asked.probabilities and len(self._outputs) < 2:
            raise InvalidInputError("this model gives no probabilities", field="parameters.probabilities")
        wanted = self._outputs[: 2 if asked.probabilities else 1]
        groups = [instances] if self.joins else [[instance] for instance in instances]
        answers = [self._run(group, wanted) for group in groups]
        columns = [[value for answer in answers for value in answer[number]] for number in range(len(wanted))]
        return Predictions(columns[0], columns[1] if asked.probabilities else None)

    def close(self) -> None:
        """See `Runtime.close`."""

    def _run(self, instances: Sequence[Any], outputs: list[str]) -> list[list[Any]]:
        feed = {entry.name: self._tensor(instances, entry) for entry in self._inputs}
        try:
            answers = self._session.run(outputs, feed)
        # As above: no common base.
        except Exception as error:
            raise ModelRefusedError(
                f"the model cannot take these instances ({type(error).__name__})", field="instances"
            ) from error
        rows = [plain(answer) if isinstance(answer, np.ndarray) else list(answer) for answer in answers]
        if any(len(row) != len(instances) for row in rows):
            raise ModelFailedError("the model does not answer once for each instance")
        return rows

    def _tensor(self, instances: Sequence[Any], entry: Any) -> Any:
        many = len(self._inputs) > 1
        try:
            if many:
                rows: list[Any] = [instance[entry.name] for instance in instances]
            else:
                rows = [[row[name] for name in self._columns] if isinstance(row, dict) else row for row in instances]
            return np.array(rows, dtype=_TYPES[entry.type])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidInputError(
                f"instances do not make up the input {entry.name}: one value for each, all of one shape",
                field="instances",
            ) from error
