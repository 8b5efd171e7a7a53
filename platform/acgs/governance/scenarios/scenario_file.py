"""Scenario files: one JSON object a line, and what a file of them holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.governance.scenarios.generator import Scenario


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    domain: str = Field(min_length=1)
    query: str = Field(min_length=1)
    context: dict[str, Any]
    verdict: Literal["comply", "violate"]
    breaches: tuple[str, ...]
    rules: tuple[str, ...]
    group: str


def write_scenarios(path: Path, scenarios: Iterable[Scenario]) -> int:
    """Write a whole file or none, and return how many scenarios it holds.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    lines = [orjson.dumps(scenario.as_dict()) for scenario in scenarios]
    try:
        write_atomic(path, b"".join(line + b"\n" for line in lines))
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror}", field="output") from error
    return len(lines)


def read_scenarios(path: Path) -> Iterator[Scenario]:
    """Read a file, one scenario at a time.

    Raises:
        InvalidInputError: the file cannot be read, or a line is not a scenario; the line and the field are named.
    """
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                yield _parse(line, f"{path.name}, line {number}")
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field="file") from error


def _parse(line: bytes, where: str) -> Scenario:
    try:
        return Scenario(**dict(_Line.model_validate_json(line)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"{where}: {field or 'not a JSON object'}: {first['msg']}", field=field) from error


@dataclass(frozen=True, slots=True)
class ScenarioCounts:
    """What a scenario file holds. A duplicate has the same domain, query and context as an earlier line."""

    total: int
    duplicates: int
    groups: int
    by_domain: dict[str, int]
    by_verdict: dict[str, int]
    by_principle: dict[str, int]


def count_scenarios(scenarios: Iterable[Scenario]) -> ScenarioCounts:
    """Count in one pass."""
    domains: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    principles: Counter[str] = Counter()
    seen: set[bytes] = set()
    groups: set[str] = set()
    total = 0
    for scenario in scenarios:
        total += 1
        domains[scenario.domain] += 1
        verdicts[scenario.verdict] += 1
        principles.update(scenario.breaches)
        groups.add(scenario.group)
        body = [scenario.domain, scenario.query, scenario.context]
        seen.add(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    return ScenarioCounts(
        total=total,
        duplicates=total - len(seen),
        groups=len(groups),
        by_domain=dict(domains.most_common()),
        by_verdict=dict(verdicts.most_common()),
        by_principle=dict(principles.most_common()),
    )
