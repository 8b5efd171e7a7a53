"""Filter a data set by the constitution on Ray: `python -m train_jobs.data_filter --data DIR --output DIR --actors N`.

The rows stream through Ray Data, so that neither the data nor what is kept of it has to fit in memory; each actor holds
a guard. Rows, manifest and reasons are those of `acgs data filter`. Runs as it stands or through `ray job submit`.
Exit codes: 0 done, 1 failed on the way, 2 refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from acgs.cli.filtering import run_filter
from acgs.cli.output import JSON_OPTION, write_error
from acgs.errors import AcgsError, InvalidInputError, UnavailableError
from acgs.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from acgs.governance.decision import Governor
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.data.filtering import JudgedRow

ROWS_A_CALL: Final = 64


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data set, under a path that every node sees")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write; it must not exist")
    parser.add_argument("--actors", type=int, default=1, help="guards that judge at the same time, a CPU each")
    parser.add_argument("--uncertain", choices=["drop", "keep"], default="drop", help="rows that cannot be decided")
    parser.add_argument("--judged", choices=["all", "response"], default="all", help="every message or the last answer")
    parser.add_argument(JSON_OPTION, action="store_true", dest="as_json", help="write JSON for machines")
    return parser.parse_args(arguments)


class JudgeActor:
    """Judges lines of a data set with a guard of its own.

    A fault is an answer, not an exception: Ray would wrap it, or try again what can only fail again.
    """

    def __init__(self, state_dir: str, expected: tuple[str, str], choices: dict[str, Any]) -> None:
        from acgs.governance.assembly import open_governor
        from acgs.learning.data.filters import ConstitutionFilter

        governor = open_governor(Settings(state_dir=Path(state_dir)))
        self._known = provenance(governor) == expected
        self._filter = ConstitutionFilter(governor, **choices)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Adds the column `found`: the judgement as JSON."""
        import pyarrow as pa

        rows = zip(batch["file"].to_pylist(), batch["offset"].to_pylist(), batch["line"].to_pylist(), strict=True)
        return batch.append_column("found", pa.array([self._found(*row) for row in rows], pa.binary()))

    def _found(self, file: str, offset: int, line: bytes) -> bytes:
        from acgs.learning.data.records import parse_record

        if not self._known:
            return _fault(UnavailableError("a node has another constitution or guard than the job; deploy it anew"))
        try:
            return orjson.dumps(self._filter.judge(parse_record(line, f"{file}, byte {offset}")))
        except AcgsError as error:
            return _fault(error)


def provenance(governor: Governor) -> tuple[str, str]:
    """What decides judgements: constitution and guard."""
    return governor.constitution.digest, governor.bundle.version


def _fault(error: AcgsError) -> bytes:
    return orjson.dumps({"refused": isinstance(error, InvalidInputError), "message": error.message})


def judge_on_actors(dataset: Dataset, governor: Governor, *, actors: int, choices: dict[str, Any]) -> Iterator[Any]:
    """The rows of a data set, judged on the cluster of this job, in their order; yields `JudgedRow`.

    Raises:
        InvalidInputError: a row cannot be judged, or the cluster has no room.
        UnavailableError: a node cannot judge.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    from acgs.cli.connection import connect, require_resources
    from train_jobs.line_source import LineSource

    connect(ray)
    # Reading takes a CPU beside the actors.
    available = ray.cluster_resources()  # type: ignore[no-untyped-call]
    require_resources(f"{actors} actors and a reader", {"CPU": actors + 1.0}, available, field="actors")
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    state_dir = str(Settings().state_dir.resolve())
    judged = ray.data.read_datasource(LineSource(dataset.files())).map_batches(
        JudgeActor,
        fn_constructor_args=(state_dir, provenance(governor), choices),
        batch_size=ROWS_A_CALL,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=actors),
        num_cpus=1,
    )
    try:
        for table in judged.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from map(_row, table.to_pylist())
    except RayError as error:
        raise UnavailableError(f"the rows could not be judged ({type(error).__name__}); see the job's log") from error


def _row(values: dict[str, Any]) -> JudgedRow:
    from acgs.learning.data.dataset import DATA
    from acgs.learning.data.filtering import JudgedRow
    from acgs.learning.data.filters import Judgement, Rejection
    from acgs.learning.data.records import parse_record

    found = orjson.loads(values["found"])
    if "message" in found:
        raise (InvalidInputError if found["refused"] else UnavailableError)(found["message"])
    why = found["rejection"]
    rejection = why and Rejection(why["id"], why["verdict"], tuple(why["principles"]), tuple(why["rules"]))
    file = Path(values["file"])
    record = parse_record(values["line"], f"{file.name}, byte {values['offset']}")
    return JudgedRow(None if file.name == DATA else file.stem, record, Judgement(found["verdict"], rejection))


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    options = parse_arguments(arguments)
    choices = {"uncertain": options.uncertain, "judged": options.judged}
    try:
        if options.actors < 1:
            raise InvalidInputError("at least one actor judges", field="actors")
        run_filter(
            options.data,
            options.output,
            **choices,
            as_json=options.as_json,
            judge_rows=lambda dataset, governor: judge_on_actors(
                dataset, governor, actors=options.actors, choices=choices
            ),
        )
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 2 if isinstance(error, InvalidInputError) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
