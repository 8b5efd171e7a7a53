"""What every kind of model can do once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from acgs.errors import AcgsError, InvalidInputError, first_fault


class ModelFailedError(AcgsError):
    """The model itself failed, or gave what is no answer. Not the caller's fault."""

    code = "model_failed"


class ModelRefusedError(InvalidInputError):
    """The model refused what its package's input schema allows. The caller is told, and it counts against the version:
    one that takes less than the version before must not pass for as good.
    """


@dataclass(frozen=True, slots=True)
class Predictions:
    """One prediction for each instance, as JSON data."""

    values: list[Any]
    probabilities: list[Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else the answer states, such as the seed of a generation."""

    def part(self, start: int, end: int) -> Predictions:
        """Those of some of the instances."""
        probabilities = None if self.probabilities is None else self.probabilities[start:end]
        return Predictions(self.values[start:end], probabilities, self.facts)


class Runtime(Protocol):
    """A loaded model. It is asked by one thread at a time."""

    joins: bool
    """Whether it gains from instances of several requests at once. An answer never depends on its neighbours."""
    brief: bool
    """Whether the time for an instance is bounded by its size, whatever it says."""

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        """Answer for instances that satisfy the input schema.

        Raises:
            InvalidInputError: a parameter, or instances of this shape, cannot be used; `field` names it.
            ModelRefusedError: the model itself does not take these instances.
            ModelFailedError: the model gave no answer.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class TabularParameters(BaseModel):
    """Parameters of classifiers and regressors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probabilities: bool = False


Parameters = TypeVar("Parameters", bound=BaseModel)


def read_parameters(model: type[Parameters], given: Mapping[str, Any]) -> Parameters:
    """A request's parameters.

    Raises:
        InvalidInputError: naming the parameter.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        name, fault = first_fault(error, whole="")
        field = f"parameters.{name}".rstrip(".")
        raise InvalidInputError(f"{field}: {fault}", field=field) from None
