"""One loaded version: it has proven itself on its probes, and it checks what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acgs.errors import InvalidInputError
from acgs.serving.package import MAX_INSTANCES, Package, open_package
from acgs.serving.runtimes.lora import BaseResolver
from acgs.serving.runtimes.opening import open_runtime
from acgs.serving.runtimes.runtime import ModelFailedError, Predictions, Runtime


class ServedVersion:
    """A model that answers. Asked by one thread at a time."""

    def __init__(self, model: str, version: str, package: Package, runtime: Runtime) -> None:
        self.model = model
        self.version = version
        self.package = package
        self._runtime = runtime

    @property
    def joins(self) -> bool:
        """See `Runtime.joins`."""
        return self._runtime.joins

    @property
    def brief(self) -> bool:
        """See `Runtime.brief`."""
        return self._runtime.brief

    def check(self, instances: Sequence[Any]) -> None:
        """Hold instances against number and input schema.

        Raises:
            InvalidInputError: naming the field that fails.
        """
        if not 1 <= len(instances) <= MAX_INSTANCES:
            raise InvalidInputError(f"instances: from 1 to {MAX_INSTANCES} in a request", field="instances")
        for number, instance in enumerate(instances):
            self.package.input.check(instance, field=f"instances.{number}")

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        """Answer for checked instances.

        Raises:
            InvalidInputError: a parameter or the shape of the instances cannot be used.
            ModelFailedError: the model gave no answer, or not one for each instance.
        """
        try:
            found = self._runtime.predict(instances, parameters)
        except (InvalidInputError, ModelFailedError):
            raise
        except Exception as error:
            # Whatever a model's library raises, it is the model's failure and is counted as one.
            raise ModelFailedError(f"the model failed ({type(error).__name__})") from error
        if len(found.values) != len(instances):
            raise ModelFailedError("the model did not give one prediction for each instance")
        return found

    def prove(self) -> None:
        """Run every probe.

        Raises:
            ModelFailedError: a probe gets no answer, or one that the output schema refuses; the probe is named.
        """
        for number, probe in enumerate(self.package.descriptor.probes):
            try:
                for place, value in enumerate(self.predict(probe.instances, {}).values):
                    self.package.output.check(value, field=f"predictions.{place}")
            except (InvalidInputError, ModelFailedError) as error:
                raise ModelFailedError(f"probe {number} fails: {error.message}", field=f"probes.{number}") from error

    def description(self) -> dict[str, Any]:
        """What a caller needs to know to ask it."""
        descriptor = self.package.descriptor
        return {"kind": descriptor.kind.value, "input": descriptor.input, "output": descriptor.output}

    def close(self) -> None:
        """Let the model go."""
        self._runtime.close()


def load_version(model: str, version: str, folder: Path, resolve: BaseResolver) -> ServedVersion:
    """Open a model folder, load the model and run its probes: what returns is ready.

    Raises:
        InvalidInputError: the folder, or a file in it, cannot be used.
        ModelFailedError: a probe fails.
        UnavailableError: a library or a base model is missing.
    """
    package = open_package(folder)
    served = ServedVersion(model, version, package, open_runtime(package, resolve))
    try:
        served.prove()
    except BaseException:
        served.close()
        raise
    return served
