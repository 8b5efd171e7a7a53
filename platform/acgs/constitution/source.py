"""Reading a constitution from disk: YAML, with its Rego modules in files beside it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from acgs.constitution.document import Constitution
from acgs.constitution.lock import LockedConstitution, check_lock, read_lock
from acgs.errors import InvalidInputError

DOCUMENT_NAME = "constitution.yaml"
LOCK_NAME = "constitution.lock"
FIXTURES_NAME = "fixtures.yaml"


def shipped_directory() -> Path:
    """Where the constitution that comes with the package lies."""
    return Path(str(files("acgs.constitution") / "shipped"))


def read_yaml(path: Path) -> Any:
    """The data of a YAML file.

    Raises:
        InvalidInputError: naming the file that cannot be read or is not YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field=path.name) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is not YAML: {error}", field=path.name) from error


def _inline_rego(raw: dict[str, Any], directory: Path) -> None:
    """Replace each `file:` by the file's text, so that the digest covers the rules themselves."""
    for module in raw.get("rego") or []:
        name = module.pop("file", None) if isinstance(module, dict) else None
        if name is None:
            continue
        path = (directory / str(name)).resolve()
        if not path.is_relative_to(directory.resolve()):
            raise InvalidInputError(f"rego file '{name}' lies outside the constitution's folder", field="rego.file")
        try:
            module["source"] = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidInputError(f"cannot read rego file '{name}': {error.strerror}", field="rego.file") from error


def read_document(directory: Path) -> Constitution:
    """Parse `constitution.yaml` in a folder, without looking at its lock.

    Raises:
        InvalidInputError: naming the field at fault.
    """
    raw = read_yaml(directory / DOCUMENT_NAME)
    if not isinstance(raw, dict):
        raise InvalidInputError(f"{directory / DOCUMENT_NAME} must hold a mapping", field=DOCUMENT_NAME)
    _inline_rego(raw, directory)
    try:
        return Constitution.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or DOCUMENT_NAME
        raise InvalidInputError(f"constitution: {where}: {first['msg']}", field=where) from error


def load_locked(directory: Path | None = None) -> LockedConstitution:
    """The constitution in force: parsed and checked against its lock.

    Raises:
        InvalidInputError: the document does not parse.
        ConstitutionMismatchError: the lock is missing or names another document.
    """
    directory = directory or shipped_directory()
    return check_lock(read_document(directory), read_lock(directory / LOCK_NAME))
