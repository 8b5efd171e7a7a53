from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from acgs.registry.artifacts.manifest import Chunk, FileEntry, Manifest, WrappedKey, content_digest

ZERO = "0" * 64
KEY = WrappedKey(key_id="k", data="00" * 40)


def entry(path: str, size: int = 3) -> FileEntry:
    chunk = Chunk(name=ZERO, size=size, sha256=ZERO, stored_size=9, stored_sha256=ZERO, key="00" * 40)
    return FileEntry(path=path, size=size, sha256=ZERO, chunks=(chunk,))


def test_a_manifest_survives_json_both_ways() -> None:
    manifest = Manifest(files=(entry("a.json"), entry("b/c.json")), key=KEY)
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    assert Manifest.model_validate(manifest.model_dump(mode="json")) == manifest


def test_the_digest_names_the_content_and_not_the_keys() -> None:
    first = Manifest(files=(entry("a.json"),), key=KEY)
    rewrapped = Manifest(files=(entry("a.json"),), key=WrappedKey(key_id="other", data="ff" * 40))
    assert first.digest == rewrapped.digest
    assert first.digest != Manifest(files=(entry("b.json"),), key=KEY).digest
    assert first.digest != Manifest(files=(entry("a.json", 4),), key=KEY).digest


def test_the_digest_does_not_depend_on_the_order_and_takes_any_size() -> None:
    files = [("b", 1 << 60, ZERO), ("a/z", 2, ZERO), ("a.json", 3, ZERO)]
    assert content_digest(iter(files)) == content_digest(iter(reversed(files)))


@pytest.mark.parametrize(
    "path", ["/abs", "../up", "a/../b", "a//b", "", ".", "a\\b", "a\nb", "C:/x", "x" * 513, "/".join("a" * 20), "a/"]
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        entry(path)


def broken(**changes: Any) -> dict[str, Any]:
    return {**Manifest(files=(entry("a.json"),), key=KEY).model_dump(mode="json"), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"files": []},
        {"extra": 1},
        {"format": "acgs-artifact/2"},
        {"files": [entry("b").model_dump(), entry("a").model_dump()]},
        {"files": [entry("a").model_dump(), entry("a").model_dump()]},
        {"files": [entry("a").model_dump(), entry("a/b").model_dump()]},
        {"files": [{**entry("a").model_dump(), "size": 4}]},
        {"key": {"key_id": "k", "data": "0"}},
    ],
)
def test_a_manifest_that_does_not_hold_together_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate(broken(**changes))
