"""Writes model folders: what a trainer gives is put into the form that is registered and served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from acgs.errors import InvalidInputError, UnavailableError, first_fault
from acgs.files import write_atomic
from acgs.serving.package import DESCRIPTOR_FILE, FORMAT, Descriptor, Kind, Package, Probe, open_package

SKLEARN_ENTRY: Final = "model.skops"
LIGHTGBM_ENTRY: Final = "model.txt"


def pack_sklearn(
    model: Any,
    folder: Path,
    *,
    instance: dict[str, Any],
    prediction: dict[str, Any],
    probes: Sequence[Sequence[Any]],
    metadata: dict[str, Any] | None = None,
) -> Package:
    """Write a fitted estimator or pipeline; the types that its package has to trust are found and checked.

    Args:
        instance: JSON schema of one instance.
        prediction: JSON schema of one prediction.
        probes: lists of real instances.

    Raises:
        InvalidInputError: it holds a type that is never trusted, or a probe does not satisfy the schema.
        UnavailableError: skops is not installed.
    """
    try:
        from skops.io import dumps, get_untrusted_types
    except ImportError as error:
        raise UnavailableError("scikit-learn models need the extra 'models': pip install 'acgs[models]'") from error

    from acgs.serving.runtimes.sklearn import ALLOWED_TYPES

    data = dumps(model)
    trusted = tuple(sorted(get_untrusted_types(data=data)))
    refused = sorted(set(trusted) - ALLOWED_TYPES)
    if refused:
        raise InvalidInputError(f"the model holds the type {refused[0]}, which is never trusted", field="trusted_types")
    write_atomic(folder / SKLEARN_ENTRY, data)
    return write_package(
        folder,
        {
            "kind": Kind.SKLEARN, "entry": SKLEARN_ENTRY, "input": instance, "output": prediction,
            "trusted_types": trusted, "probes": probes, "metadata": metadata or {},
        },
    )  # fmt: skip


def pack_lightgbm(
    booster: Any,
    folder: Path,
    *,
    instance: dict[str, Any],
    prediction: dict[str, Any],
    probes: Sequence[Sequence[Any]],
    metadata: dict[str, Any] | None = None,
) -> Package:
    """Write a booster in its text form. Arguments and errors as `pack_sklearn`."""
    write_atomic(folder / LIGHTGBM_ENTRY, booster.model_to_string().encode())
    return write_package(
        folder,
        {
            "kind": Kind.LIGHTGBM, "entry": LIGHTGBM_ENTRY, "input": instance, "output": prediction,
            "probes": probes, "metadata": metadata or {},
        },
    )  # fmt: skip


def write_package(folder: Path, fields: dict[str, Any]) -> Package:
    """Write `model.json` beside the files that it names, and open the folder as serving will.

    Args:
        fields: of `Descriptor`, without `format`; `probes` as lists of instances.

    Raises:
        InvalidInputError: the fields, or the folder, cannot be used.
    """
    probes = [Probe(instances=list(instances)) for instances in fields.pop("probes")]
    try:
        descriptor = Descriptor.model_validate({"format": FORMAT, **fields, "probes": probes})
    except ValidationError as error:
        field, fault = first_fault(error, whole=DESCRIPTOR_FILE)
        raise InvalidInputError(f"{field}: {fault}", field=field) from None
    body = orjson.dumps(descriptor.model_dump(mode="json", exclude_none=True), option=orjson.OPT_INDENT_2)
    write_atomic(folder / DESCRIPTOR_FILE, body + b"\n")
    return open_package(folder)
