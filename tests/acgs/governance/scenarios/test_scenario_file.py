from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.governance.scenarios.generator import Scenario, generate
from acgs.governance.scenarios.scenario_file import count_scenarios, read_scenarios, write_scenarios

LINE: dict[str, Any] = {
    "id": "scn-1",
    "domain": "general",
    "query": "q",
    "context": {},
    "verdict": "comply",
    "breaches": [],
    "rules": [],
    "group": "g",
}


def test_what_was_written_is_read_back(tmp_path: Path, constitution: LockedConstitution) -> None:
    scenarios = list(generate(constitution.document, 300, seed=2))
    path = tmp_path / "s.jsonl"
    assert write_scenarios(path, scenarios) == 300
    assert list(read_scenarios(path)) == scenarios


def test_when_generation_stops_half_way_the_old_file_stays(tmp_path: Path, constitution: LockedConstitution) -> None:
    path = tmp_path / "s.jsonl"
    write_scenarios(path, generate(constitution.document, 5, seed=1))
    before = path.read_bytes()

    def interrupted() -> Iterator[Scenario]:
        yield from generate(constitution.document, 100, seed=3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenarios(path, interrupted())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"verdict": "maybe"}, "verdict"),
        ({"query": ""}, "query"),
        ({"context": []}, "context"),
        ({"extra": 1}, "extra"),
        ({"breaches": "rule_of_law"}, "breaches"),
    ],
)
def test_a_line_that_is_no_scenario_is_named(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in (LINE, LINE | change)))
    with pytest.raises(InvalidInputError, match=r"s\.jsonl, line 2") as refused:
        list(read_scenarios(path))
    assert refused.value.field == field


def test_counts_add_up_and_duplicates_are_found() -> None:
    def scenario(number: int, query: str, *breaches: str, **context: Any) -> Scenario:
        verdict = "violate" if breaches else "comply"
        return Scenario(f"s{number}", "general", query, context, verdict, breaches, (), f"g{number % 2}")

    counts = count_scenarios(
        [scenario(0, "a"), scenario(1, "a"), scenario(2, "a", x=1), scenario(3, "b", "due_process", "rule_of_law")]
    )
    assert (counts.total, counts.duplicates, counts.groups) == (4, 1, 2)
    assert counts.by_verdict == {"comply": 3, "violate": 1}
    assert counts.by_domain == {"general": 4}
    assert counts.by_principle == {"due_process": 1, "rule_of_law": 1}


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot write"):
        write_scenarios(tmp_path / "file" / "s.jsonl", [])
