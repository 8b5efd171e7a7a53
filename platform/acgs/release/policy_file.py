"""Reads the release policy of its owner. One that cannot be used means no, never a default."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from acgs.errors import InvalidInputError, UnavailableError, first_fault
from acgs.release.policy import ReleasePolicy

MAX_BYTES: Final = 1024 * 1024
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class PolicyUnusableError(UnavailableError):
    """There is a policy, but nobody can tell what it says; nothing is staged, judged or promoted."""


def read_policy(path: Path | None) -> ReleasePolicy:
    """The policy of a YAML or JSON file; the defaults where none is named.

    Raises:
        PolicyUnusableError: the file cannot be read, others may write it, or it is no policy.
    """
    if path is None:
        return ReleasePolicy()
    try:
        return parse_policy(path)
    except InvalidInputError as error:
        raise PolicyUnusableError(
            f"{error.message}. Until its owner mends it, nothing is staged or promoted", field="release_policy"
        ) from error


def parse_policy(path: Path) -> ReleasePolicy:
    """The policy of a YAML or JSON file, whatever is in force.

    Raises:
        InvalidInputError: the file cannot be read, others may write it, or it is no policy.
    """
    try:
        with path.open("rb") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            body = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unusable(path, f"it cannot be read ({error.strerror})") from error
    if mode & _OTHERS_WRITE:
        raise _unusable(path, f"others than its owner may write it (mode {mode:04o}); chmod go-w")
    if len(body) > MAX_BYTES:
        raise _unusable(path, f"it is longer than {MAX_BYTES} bytes")
    try:
        fields = yaml.load(body.decode(), Loader=_EachNameOnce)  # noqa: S506 - a SafeLoader
        return ReleasePolicy.model_validate(fields)
    except ValidationError as error:
        field, fault = first_fault(error, whole="policy")
        raise _unusable(path, f"{field}: {fault}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # as of a date that no calendar has
        raise _unusable(path, f"it is no readable YAML or JSON ({_where(error)})") from error


class _EachNameOnce(yaml.SafeLoader):
    """YAML takes the last of two equal names, so that a rule would be gone without a word."""


def _mapping(loader: _EachNameOnce, node: yaml.MappingNode) -> dict[Any, Any]:
    names = [key.value for key, _ in node.value]
    twice = next((key for key, _ in node.value if names.count(key.value) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"{twice.value!r} is given twice", twice.start_mark)
    return loader.construct_mapping(node, deep=True)


_EachNameOnce.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _where(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return type(error).__name__


def _unusable(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError(f"the release policy {path} cannot be used: {why}", field="file")
