from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from acgs.constitution.canonical import canonical_bytes, digest, label_of
from acgs.constitution.document import Constitution
from acgs.constitution.source import DOCUMENT_NAME, read_document, shipped_directory

SHIPPED = read_document(shipped_directory())
RAW = SHIPPED.model_dump(mode="json")


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, (*path, key))
    else:
        yield path


LEAVES = [path for path in _leaves(RAW) if path[-1] not in ("language", "severity", "op", "scope", "principle")]


def _other(value: Any) -> Any:
    """A value of the same type that the schema may take in the place."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2
    return "x" if value is None else value + "9"


@given(path=st.sampled_from(LEAVES))
@settings(max_examples=200, deadline=None)
def test_a_change_of_any_one_field_changes_the_digest(path: tuple[Any, ...]) -> None:
    changed = copy.deepcopy(RAW)
    *parents, leaf = path
    place = changed
    for parent in parents:
        place = place[parent]
    place[leaf] = _other(place[leaf])
    try:
        document = Constitution.model_validate(changed)
    except ValidationError:
        return  # refused outright: a reference that no longer resolves, a pattern that no longer fits
    assert digest(document) != digest(SHIPPED)


def test_most_fields_can_be_changed_so_the_property_above_is_not_empty() -> None:
    accepted = 0
    for path in LEAVES[::10]:
        changed = copy.deepcopy(RAW)
        place: Any = changed
        for parent in path[:-1]:
            place = place[parent]
        place[path[-1]] = _other(place[path[-1]])
        try:
            Constitution.model_validate(changed)
        except ValidationError:
            continue
        accepted += 1
    assert accepted > len(LEAVES[::10]) / 2


def _shuffled(value: Any, randomly: Any) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        randomly.shuffle(keys)
        return {key: _shuffled(value[key], randomly) for key in keys}
    return [_shuffled(item, randomly) for item in value] if isinstance(value, list) else value


@given(randomly=st.randoms(use_true_random=False), flow=st.booleans(), indent=st.integers(2, 8))
@settings(max_examples=15, deadline=None)
def test_key_order_and_whitespace_do_not_change_the_digest(randomly: Any, flow: bool, indent: int) -> None:
    text = yaml.safe_dump(_shuffled(RAW, randomly), sort_keys=False, default_flow_style=flow, indent=indent)
    assert digest(Constitution.model_validate(yaml.safe_load(text))) == digest(SHIPPED)


def test_comments_do_not_change_the_digest(folder: Path) -> None:
    path = folder / DOCUMENT_NAME
    text = "".join(f"{line}  # remark\n" if line.endswith(": major") else f"{line}\n" for line in _lines(path))
    path.write_text("# a comment\n\n" + text)
    assert text.count("# remark") > 5
    assert digest(read_document(folder)) == digest(SHIPPED)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_defaults_that_are_spelt_out_do_not_change_the_digest(folder: Path) -> None:
    path = folder / DOCUMENT_NAME
    raw = yaml.safe_load(path.read_text())
    assert "rego" not in raw
    raw["rego"] = []
    path.write_text(yaml.safe_dump(raw))
    assert digest(read_document(folder)) == digest(SHIPPED)


def test_the_order_of_principles_is_part_of_the_document(constitution: Any) -> None:
    raw = copy.deepcopy(RAW)
    raw["principles"].reverse()
    assert digest(Constitution.model_validate(raw)) != constitution.digest


def test_canonical_bytes_are_rfc_8785(constitution: Any) -> None:
    body = canonical_bytes(constitution.document)
    assert body.startswith(b'{"actions":{"evolve_agent":')
    assert b": " not in body.replace(b'": ', b"").split(b'"principles"')[0][:100]
    assert b'"weight":1.0' not in body
    assert b'"weight":1,' in body or b'"weight":1}' in body


def test_a_new_label_is_the_head_of_the_digest() -> None:
    assert label_of("0123456789abcdef" + "f" * 48) == "0123456789abcdef"
