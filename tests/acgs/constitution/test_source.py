from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acgs.constitution.canonical import digest
from acgs.constitution.source import DOCUMENT_NAME, read_document
from acgs.errors import InvalidInputError

MODULE = "package acgs.rules.general\nimport rego.v1\nviolations contains x if { x := input.context.extra }\n"


def _refer(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw.update(rego=[{"name": "extra", "scope": "general", "file": name}])


def test_a_rego_file_is_part_of_the_document(edit: Callable[..., Path]) -> None:
    folder = edit(_refer("extra.rego"))
    (folder / "extra.rego").write_text(MODULE)
    first = read_document(folder)
    assert first.rego[0].source == MODULE
    (folder / "extra.rego").write_text(MODULE + "# changed\n")
    assert digest(read_document(folder)) != digest(first)


@pytest.mark.parametrize("name", ["../outside.rego", "/etc/hostname", "sub/../../outside.rego"])
def test_a_rego_file_outside_the_folder_is_refused(edit: Callable[..., Path], name: str) -> None:
    folder = edit(_refer(name))
    (folder.parent / "outside.rego").write_text(MODULE)
    with pytest.raises(InvalidInputError, match="outside the constitution's folder"):
        read_document(folder)


def test_a_link_that_leads_outside_the_folder_is_refused(edit: Callable[..., Path]) -> None:
    folder = edit(_refer("inside.rego"))
    (folder.parent / "outside.rego").write_text(MODULE)
    (folder / "inside.rego").symlink_to(folder.parent / "outside.rego")
    with pytest.raises(InvalidInputError, match="outside the constitution's folder"):
        read_document(folder)


def test_a_rego_file_that_is_absent_is_named(edit: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInputError, match=r"absent\.rego"):
        read_document(edit(_refer("absent.rego")))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda raw: raw.update(surprise=1), "surprise"),
        (lambda raw: raw["rules"][0].update(surprise=1), "rules.0.surprise"),
        (lambda raw: raw["rules"][0]["when"][0].update(surprise=1), "rules.0.when.0.surprise"),
        (lambda raw: raw["thresholds"].update(surprise=1), "thresholds.surprise"),
        (lambda raw: raw["rules"][0].update(severity="huge"), "rules.0.severity"),
        (lambda raw: raw["rules"][0].update(when=[]), "rules.0.when"),
        (lambda raw: raw["domains"]["finance"].update(cache_ttl=1), "domains.finance.cache_ttl"),
        (lambda raw: raw.update(version="1.0"), "version"),
    ],
)
def test_what_the_schema_does_not_know_is_refused_by_name(
    edit: Callable[..., Path], change: Callable[[dict[str, Any]], None], field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_document(edit(change))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda raw: raw["rules"][0].update(principle="unheard_of"), "CON-01"),
        (lambda raw: raw["rules"][0].update(scope="unheard_of"), "CON-01"),
        (lambda raw: raw["rules"].append(raw["rules"][0]), "CON-01"),
        (lambda raw: raw["domains"]["finance"].update(principles=["unheard_of"]), "finance"),
        (lambda raw: raw["domains"].pop("general"), "general"),
        (lambda raw: raw["rules"][0]["when"][0].update(op="in"), "list"),
        (lambda raw: raw["rules"][0]["when"][0].update(op="in", value=[]), "at least one"),
        (lambda raw: raw["rules"][0]["when"][0].update(op="lt", value=True), "compares numbers"),
        (lambda raw: raw["rules"][0]["when"][0].update(op="missing"), "takes no value"),
    ],
)
def test_references_and_operators_must_make_sense(
    edit: Callable[..., Path], change: Callable[[dict[str, Any]], None], named: str
) -> None:
    with pytest.raises(InvalidInputError, match=named):
        read_document(edit(change))


@pytest.mark.parametrize("content", ["", "- a\n", "just text", "a: [", "!!python/object/apply:os.getcwd []"])
def test_what_is_no_yaml_mapping_is_refused(folder: Path, content: str) -> None:
    (folder / DOCUMENT_NAME).write_text(content)
    with pytest.raises(InvalidInputError):
        read_document(folder)


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / DOCUMENT_NAME).write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(InvalidInputError, match="not YAML"):
        read_document(folder)
