"""Reads limits and margins from YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from acgs.errors import InvalidInputError, first_fault

Limits = TypeVar("Limits", bound=BaseModel)


def read_yaml(path: Path | None, kind: type[Limits]) -> Limits:
    """What a YAML file says of `kind`; without a file its defaults.

    Raises:
        InvalidInputError: the file cannot be read, and why, or is no YAML; or the field at fault is named.
    """
    if path is None:
        return kind()
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}", field="limits") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path} is no readable YAML", field="limits") from error
    if not isinstance(fields, dict):
        raise InvalidInputError(f"{path} holds no names with values", field="limits")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        field, fault = first_fault(error, whole="limits")
        raise InvalidInputError(f"{path}, {field}: {fault}", field=field) from None
