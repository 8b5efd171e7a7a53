from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.constitution.document import Constitution
from acgs.constitution.source import DOCUMENT_NAME, shipped_directory

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped constitution's folder, free to be edited."""
    target = tmp_path / "constitution"
    shutil.copytree(shipped_directory(), target)
    return target


@pytest.fixture
def edit(folder: Path) -> Callable[[Edit], Path]:
    """Change the parsed document and write it back."""

    def apply(change: Edit) -> Path:
        path = folder / DOCUMENT_NAME
        raw = yaml.safe_load(path.read_text())
        change(raw)
        path.write_text(yaml.safe_dump(raw, sort_keys=False))
        return folder

    return apply


@pytest.fixture
def edited(constitution: Any) -> Callable[[Edit], Constitution]:
    """The shipped document with a change, not written anywhere."""

    def apply(change: Edit) -> Constitution:
        raw = constitution.document.model_dump(mode="json")
        change(raw)
        return Constitution.model_validate(raw)

    return apply
