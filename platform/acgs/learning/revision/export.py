"""From chains to training data: answers to learn from, and pairs to prefer by."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypedDict

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.learning.data.dataset import DATA, Dataset, DatasetWriter
from acgs.learning.data.manifest import Operation, Parent, seal
from acgs.learning.data.records import Message, Record, invalid_row
from acgs.learning.revision.chain import Chain
from acgs.learning.revision.loop import LoopSettings
from acgs.learning.revision.report import RevisionReport
from acgs.learning.revision.run import read_chains

REPORT: Final = "report.json"
SFT: Final = "sft"
PREFERENCES: Final = "preferences"

Division = Literal["both", "halves"]
"""`halves`: the first half of the usable rows for answers, the second for pairs, so that no row serves twice."""


class Preference(BaseModel):
    """A pair: `chosen` is the revision, `rejected` the response it came from, both with their prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    group: str | None
    user: str | None
    prompt: str
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    principles: tuple[str, ...]
    """What `rejected` breaches by the critic."""


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows went where."""

    answers: int
    pairs: int
    refusals_left_out: int


def refusals_over_cap(chains: Iterable[Chain], cap: float) -> set[str]:
    """Ids of revised refusals beyond a share `cap` of the revised rows, the later ones first left out."""
    revised = [(chain.id, chain.refusal_after) for chain in chains if chain.status == "revised"]
    answers = sum(not refusal for _, refusal in revised)
    refusals = [name for name, refusal in revised if refusal]
    allowed = len(refusals) if cap >= 1 else int(cap / (1 - cap) * answers + 1e-9)
    return set(refusals[allowed:])


def export(
    output: Path, dataset: Dataset, settings: LoopSettings, *, division: Division = "both", refusal_cap: float = 0.1
) -> Exported:
    """Write `sft/`, a data set of compliant and revised answers, and `preferences/`, where there are pairs.

    What an earlier, interrupted export left is written anew.

    Raises:
        InvalidInputError: no row is usable; the report tells why.
    """
    left_out = refusals_over_cap(read_chains(output), refusal_cap)
    usable = sum(_usable(chain, left_out) for chain in read_chains(output))
    if not usable:
        raise InvalidInputError(
            f"no row was compliant or could be revised; {output / REPORT} counts the reasons", field="data"
        )
    middle = usable if division == "both" else (usable + 1) // 2
    start = 0 if division == "both" else middle
    rows = (chain for chain in read_chains(output) if _usable(chain, left_out))
    numbered = list(_positions(rows, middle, start))
    answers = {chain_id for chain_id, answer, _ in numbered if answer}
    pairs = {chain_id for chain_id, _, pair in numbered if pair}
    lineage = _lineage(output, dataset, settings, division, refusal_cap)
    if answers:
        _write_answers(output, dataset, answers, lineage)
    made = _write_pairs(output, dataset, pairs, lineage) if pairs else 0
    return Exported(len(answers), made, len(left_out))


def write_report(output: Path, report: RevisionReport) -> None:
    """Write `report.json`."""
    write_atomic(output / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n")


def _usable(chain: Chain, left_out: set[str]) -> bool:
    return chain.status != "dropped" and chain.id not in left_out


def _positions(rows: Iterable[Chain], middle: int, start: int) -> Iterator[tuple[str, bool, bool]]:
    for place, chain in enumerate(rows):
        yield chain.id, place < middle, place >= start and chain.status == "revised"


class _Lineage(TypedDict):
    """What both results say of where they come from."""

    parents: list[Parent]
    origins: tuple[str, ...]
    operations: list[Operation]
    constitution_digest: str


def _lineage(
    output: Path, dataset: Dataset, settings: LoopSettings, division: Division, refusal_cap: float
) -> _Lineage:
    first = next(read_chains(output))
    parts = {"generator": first.generator_id, "critic": first.critic_id, "evaluator": first.evaluator_id}
    chosen = {"division": division, "refusal_cap": refusal_cap}
    parameters = {**parts, **chosen, **settings.model_dump(mode="json")}
    step = Operation(name="revise", parameters=parameters, seed=settings.seed)
    return _Lineage(
        parents=[dataset.parent],
        origins=dataset.manifest.origins,
        operations=[*dataset.manifest.operations, step],
        constitution_digest=first.constitution_digest,
    )


def _write_answers(output: Path, dataset: Dataset, wanted: set[str], lineage: _Lineage) -> None:
    """Chains and records come in the same order, one each."""
    place = output / SFT
    shutil.rmtree(place, ignore_errors=True)
    with DatasetWriter(place) as writer:
        for (split, record), chain in zip(dataset.split_records(), read_chains(output), strict=True):
            if chain.id in wanted:
                revised = chain.status == "revised"
                writer.add(record.with_response(chain.messages[-1].content) if revised else record, split)
        writer.finish(**lineage)


def _write_pairs(output: Path, dataset: Dataset, wanted: set[str], lineage: _Lineage) -> int:
    """The manifest comes last and makes the folder whole."""
    place = output / PREFERENCES
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        files = {path.name: stack.enter_context((place / path.name).open("wb")) for path in dataset.files()}
        for (split, _), chain in zip(dataset.split_records(), read_chains(output), strict=True):
            if chain.id in wanted:
                name = f"{split}.jsonl" if split else DATA
                files[name].write(_pair(chain).model_dump_json().encode() + b"\n")
                counts[name] += 1
    seal(place, files, columns=sorted(Preference.model_fields), **lineage)
    return counts.total()


def _pair(chain: Chain) -> Preference:
    return Preference(
        id=chain.id,
        group=chain.group,
        user=chain.user,
        prompt=chain.prompt,
        chosen=chain.chosen,
        rejected=chain.rejected,
        principles=chain.critic_before.principles if chain.critic_before else (),
    )


def holds_pairs(dataset: Dataset) -> bool:
    """Whether a data set holds preference pairs instead of records."""
    return "rejected" in dataset.manifest.columns


def pair_records(dataset: Dataset) -> Iterator[Record]:
    """The chosen side of every pair as a record, labelled with what the rejected side breaches.

    Raises:
        InvalidInputError: a row is no pair; row and field are named.
    """
    for path in dataset.files():
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                try:
                    pair = Preference.model_validate_json(line)
                except ValidationError as error:
                    raise invalid_row(error, f"{path.name}, row {number}") from None
                yield Record(
                    id=pair.id,
                    messages=pair.chosen,
                    group=pair.group,
                    user=pair.user,
                    principles=pair.principles,
                    source=PREFERENCES,
                )
