"""Where the folder of a version comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from acgs.errors import InvalidInputError
from acgs.registry.semver import ModelName, parse

Fetch = Callable[[str, str], Path]
"""The model folder of a model's version, on this machine. Raises `AcgsError` where there is none."""

_NAME: TypeAdapter[str] = TypeAdapter(ModelName)


class FolderStore:
    """Versions as plain folders, `<root>/<model>/<version>`; for machines without a registry."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, model: str, version: str) -> Path:
        """See `Fetch`.

        Raises:
            InvalidInputError: there is no such folder, or the names are none.
        """
        try:
            folder = self._root / _NAME.validate_python(model) / str(parse(version))
        except ValidationError:
            raise InvalidInputError(f"{model[:40]!r} is no name of a model", field="model") from None
        if not folder.is_dir():
            raise InvalidInputError(f"there is no folder for {model} {version}", field="version")
        return folder
