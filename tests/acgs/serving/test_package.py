"""A model folder is checked before anything of it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import InvalidInputError
from acgs.serving.fetching import FolderStore
from acgs.serving.package import MAX_DESCRIPTOR_BYTES, open_package
from tests.acgs.serving.models import RECORD

DESCRIPTOR: dict[str, Any] = {
    "format": "acgs-model/1",
    "kind": "sklearn",
    "entry": "model.skops",
    "input": RECORD,
    "output": {"type": "number"},
    "probes": [{"instances": [{"age": 3, "dose": 1.5}]}],
}


def write(folder: Path, **fields: Any) -> Path:
    (folder / "model.skops").write_bytes(b"not looked at here")
    document = {name: value for name, value in (DESCRIPTOR | fields).items() if value is not ...}
    (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_a_good_folder_opens(tmp_path: Path) -> None:
    package = open_package(write(tmp_path))
    assert package.entry == tmp_path / "model.skops"
    assert package.input.columns == ("age", "dose")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"format": "acgs-model/2"}, "format"),
        ({"kind": "pickle"}, "kind"),
        ({"entry": "../model.skops"}, "entry"),
        ({"entry": "/etc/passwd"}, "entry"),
        ({"entry": "a\\b"}, "entry"),
        ({"entry": "missing.skops"}, "entry"),
        ({"surprise": 1}, "surprise"),
        ({"probes": []}, "probes"),
        ({"probes": ...}, "probes"),
        ({"probes": [{"instances": []}]}, "probes.0.instances"),
        ({"probes": [{"instances": [{"age": 3, "dose": 1}, {"age": -1, "dose": 1}]}]}, "probes.0.instances.1.age"),
        ({"input": {"type": "nonsense"}}, "input"),
        ({"output": {"$ref": "https://example.org/schema"}}, "output"),
        ({"output": {"allOf": [{"$ref": "file:///etc/passwd"}]}}, "output"),
        ({"base": {"folder": "base"}}, "model.json"),
        ({"kind": "lora", "entry": "model.skops"}, "model.json"),
        ({"kind": "lora", "entry": "model.skops", "base": {"model": "x", "version": "1.0.0"}}, "entry"),
        ({"kind": "lora", "base": {"model": "x", "version": "1"}}, "base.BaseVersion.version"),
        ({"kind": "onnx", "trusted_types": ["x"]}, "model.json"),
    ],
)
def test_what_is_wrong_with_a_descriptor_is_named(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_package(write(tmp_path, **fields))
    assert caught.value.field == field


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    write(folder)
    (tmp_path / "elsewhere").write_bytes(b"secret")
    (folder / "model.skops").unlink()
    (folder / "model.skops").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInputError, match="out of the model folder"):
        open_package(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b" " * (MAX_DESCRIPTOR_BYTES + 1), b'{"format": "\xff"}'])
def test_a_descriptor_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    write(tmp_path)
    (tmp_path / "model.json").write_bytes(data)
    with pytest.raises(InvalidInputError):
        open_package(tmp_path)


def test_a_folder_without_a_descriptor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no readable model\.json"):
        open_package(tmp_path)


@pytest.mark.parametrize(("model", "version"), [("../x", "1.0.0"), ("x", "../1"), ("x", "1.0.0"), ("X", "1.0.0")])
def test_a_folder_store_gives_nothing_but_its_own_folders(tmp_path: Path, model: str, version: str) -> None:
    with pytest.raises(InvalidInputError):
        FolderStore(tmp_path / "store")(model, version)
