"""The judgement of a candidate as a document: JSON for machines, Markdown for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from acgs.files import write_atomic
from acgs.release.evidence import Digest, Evidence, Split, System
from acgs.release.guards.guard import GuardResult
from acgs.statistics.evidence import Verdict

CONTRACT_MARKDOWN: Final = "T1_release_contract.md"
CONTRACT_JSON: Final = "T1_release_contract.json"
_NO_FIGURE: Final = "-"
_COLUMNS: Final = ("guard", "state", "value", "bound", "margin", "n", "minimum n", "method", "why")


class Observation(BaseModel):
    """A figure that is reported and not judged."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    value: float
    n: int


class ContractReport(BaseModel):
    """What was judged, under which budget, and what every guard said. `result` is the tree of guards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["acgs-release-contract/1"] = "acgs-release-contract/1"
    contract: str
    judged_at: AwareDatetime
    baseline: System
    candidate: System
    split: Split
    seed: int
    evidence_digest: Digest
    confidence: float
    power: float
    verdict: Verdict
    result: GuardResult
    observations: tuple[Observation, ...]
    waived: dict[str, str]

    @property
    def released(self) -> bool:
        """Whether the candidate may replace the baseline."""
        return self.verdict == Verdict.PASS


def observe(evidence: Evidence) -> tuple[Observation, ...]:
    """The blast radius: how many requests are answered otherwise than before, and how differently."""
    treated = evidence.treated
    if treated is None:
        return ()
    part = len(treated.jaccard) / treated.requests
    seen = [Observation(name="share of traffic on another route", value=part, n=treated.requests)]
    if part:
        mean = float(treated.jaccard.mean())
        seen.append(Observation(name="Jaccard@10 to the baseline, treated traffic", value=mean, n=len(treated.jaccard)))
        seen.append(
            Observation(name="Jaccard@10 to the baseline, all traffic", value=1 - part * (1 - mean), n=treated.requests)
        )
    return tuple(seen)


def markdown(report: ContractReport) -> str:
    """The report as a page."""
    facts = {
        "Verdict": f"**{report.verdict}**",
        "Baseline": _system(report.baseline),
        "Candidate": _system(report.candidate),
        "Split": f"{report.split.name}, `{report.split.digest}`",
        "Seed": str(report.seed),
        "Evidence": f"`{report.evidence_digest}`",
        "Confidence of each bound": f"{report.confidence:g}, one-sided",
        "Power for a good candidate to pass all": f"{report.power:g}",
        "Judged": report.judged_at.isoformat(timespec="seconds"),
    }
    lines = [f"# {report.contract}", "", *_table(("", ""), facts.items()), "", "## Guards", ""]
    lines += _table(_COLUMNS, (_cells(leaf) for leaf in leaves(report.result)))
    if report.observations:
        seen = ((item.name, f"{item.value:.4f}", str(item.n)) for item in report.observations)
        lines += ["", "## Reported, not judged", "", *_table(("what", "value", "n"), seen)]
    if report.waived:
        lines += ["", "## Waived", "", *_table(("guard", "why"), report.waived.items())]
    return "\n".join([*lines, ""])


def write_report(directory: Path, report: ContractReport) -> None:
    """Write both forms under their names."""
    write_atomic(directory / CONTRACT_JSON, report.model_dump_json(indent=1).encode() + b"\n")
    write_atomic(directory / CONTRACT_MARKDOWN, markdown(report).encode())


def leaves(result: GuardResult) -> Iterator[GuardResult]:
    """The guards that measured something, in their order."""
    if not result.parts:
        yield result
    for part in result.parts:
        yield from leaves(part)


def _cells(leaf: GuardResult) -> tuple[str, ...]:
    figures = (_figure(leaf.value, leaf.unit), _figure(leaf.bound, leaf.unit), _figure(leaf.margin, leaf.unit))
    method = leaf.method if leaf.value is None else f"{leaf.method}, {leaf.confidence:.4g}"
    return (leaf.guard, leaf.verdict, *figures, str(leaf.n), str(leaf.minimum_n), method, leaf.reason)


def _figure(value: float | None, unit: str) -> str:
    return _NO_FIGURE if value is None else f"{value:.4f} {unit}".rstrip()


def _system(system: System) -> str:
    return f"{system.name} {system.version}, `{system.digest}`"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(headings), "|" + "---|" * len(headings), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    """A row; what a cell holds cannot end it."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
