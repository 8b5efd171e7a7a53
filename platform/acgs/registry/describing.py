"""Descriptions of versions from what people write: options and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from acgs.errors import InvalidInputError, first_fault
from acgs.registry.model_version import Description

MODEL_FILE: Final = "model.json"
PLAIN_FILES: Final = "files"
"""Kind of a version that nothing serves."""
_MAX_BYTES: Final = 1 << 20


def describe(fields: Mapping[str, Any]) -> Description:
    """Fields as a description.

    Raises:
        InvalidInputError: naming the first field at fault.
    """
    try:
        return Description.model_validate(dict(fields))
    except ValidationError as error:
        field, fault = first_fault(error, whole="description")
        raise InvalidInputError(f"{field}: {fault}", field=field) from None


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a description file (JSON).

    Raises:
        InvalidInputError: it cannot be read, or holds no JSON object.
    """
    try:
        with path.open("rb") as handle:
            fields = orjson.loads(handle.read(_MAX_BYTES))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}", field="describe") from error
    except orjson.JSONDecodeError:
        raise InvalidInputError(f"{path} is not JSON, or longer than {_MAX_BYTES} bytes", field="describe") from None
    if not isinstance(fields, dict):
        raise InvalidInputError(f"{path} holds no JSON object", field="describe")
    return fields


def kind_of(source: Path) -> str:
    """The kind that a model folder's `model.json` states; 'files' for anything else."""
    descriptor = source / MODEL_FILE
    if not descriptor.is_file():
        return PLAIN_FILES
    return str(read_fields(descriptor).get("kind", PLAIN_FILES))


def require_kind(source: Path, kind: str) -> None:
    """Whether a folder may be called that.

    Raises:
        InvalidInputError: its `model.json`, by which it would be loaded, states another kind.
    """
    stated = kind_of(source)
    if stated not in (PLAIN_FILES, kind):
        raise InvalidInputError(f"the folder's {MODEL_FILE} states the kind {stated[:64]!r}", field="kind")


def pair(option: str) -> Callable[[str], tuple[str, str]]:
    """A reader of NAME=VALUE for an option, which its errors name."""

    def read(text: str) -> tuple[str, str]:
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise InvalidInputError(f"--{option} takes NAME=VALUE, not {text[:60]!r}", field=option)
        return name, value

    return read
