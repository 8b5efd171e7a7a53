"""From a source to records: by columns, as records written before, or as scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from acgs.errors import InvalidInputError
from acgs.governance.scenarios.generator import Scenario
from acgs.governance.scenarios.scenario_file import read_scenarios
from acgs.learning.data.columns import ColumnMap, record_of
from acgs.learning.data.dataset import Dataset, read_records
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Message, Record
from acgs.learning.data.responses import responses_of
from acgs.learning.data.rows import HUB, open_rows, source_digest

Format = Literal["columns", "records", "scenarios", "scenario-responses"]


def import_records(
    source: str, *, form: Format = "columns", columns: ColumnMap | None = None, seed: int = 0
) -> Iterator[Record]:
    """Read a source as records; every id is used once.

    Args:
        source: a path, or `hub:owner/name`.
        form: `columns` maps a row's columns; `records` reads a data set or a file of one; `scenarios` makes a prompt of
            each scenario; `scenario-responses` mixes their sentences to responses, some of which breach.
        seed: of the mixing.

    Raises:
        InvalidInputError: a row cannot be used; row and column are named.
        UnavailableError: a download failed or a library is missing.
    """
    seen: set[str] = set()
    for record in _read(source, form, columns or ColumnMap(), seed):
        if record.id in seen:
            raise InvalidInputError(f"{_name(source)}: the id of row {len(seen) + 1} was used before", field="id")
        seen.add(record.id)
        yield record


def _read(source: str, form: Format, columns: ColumnMap, seed: int) -> Iterator[Record]:
    if form == "columns":
        return (record_of(where, row, columns, source=_name(source)) for where, row in open_rows(source))
    if source.startswith(HUB):
        raise InvalidInputError(f"the hub is read by columns, not as {form}", field="format")
    path = Path(source)
    if form == "records":
        return Dataset(path).records() if path.is_dir() else read_records(path)
    scenarios = read_scenarios(path)
    if form == "scenarios":
        return (_prompt_of(scenario) for scenario in scenarios)
    return responses_of(list(scenarios), seed)


def lineage_of(source: str, form: Format) -> tuple[Parent, tuple[str, ...], tuple[Operation, ...]]:
    """A source as a parent, with the origins and the steps behind it: those of a data set, or the source itself.

    Raises:
        InvalidInputError: a folder read as records is no data set.
    """
    if form == "records" and Path(source).is_dir():
        dataset = Dataset(Path(source))
        return dataset.parent, dataset.manifest.origins, dataset.manifest.operations
    digest = source_digest(source)
    return Parent(name=_name(source), digest=digest), (digest,), ()


def _name(source: str) -> str:
    """What rows say of their source: a file's name without its folder, a hub name whole."""
    return source if source.startswith(HUB) else Path(source).name


def _prompt_of(scenario: Scenario) -> Record:
    return Record(
        id=scenario.id,
        messages=(Message(role="user", content=scenario.query),),
        group=scenario.group,
        principles=scenario.breaches,
        domain=scenario.domain,
        context=scenario.context,
        source="scenarios",
        metadata={"verdict": scenario.verdict},
    )
