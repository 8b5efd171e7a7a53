"""Settings of the ANN harvest: the grid that is looked at, and what is recorded of each setting."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from acgs.retrieval.harvest import EFS, RECALL_AT, SEED_GRID, Setting
from acgs.retrieval.vectors import GraphOptions
from tune_sweeps.retrieval_work import Part, RetrievalSweep

Quantisation = Literal["f32", "f16", "i8"]
_Ef = Annotated[int, Field(ge=1, le=4096)]
_Topk = Annotated[int, Field(ge=10, le=1000)]
_Connectivity = Annotated[int, Field(ge=4, le=128)]
_Expansion = Annotated[int, Field(ge=8, le=4096)]

HOPELESS: Final = "stopped early: its recall can no longer be enough"


class HarvestConfig(RetrievalSweep):
    """A whole harvest. Each list is geometric by default: a step costs about as much more as the one before."""

    corpus: Path | None = Field(None, description="folder with docs.jsonl, and queries.jsonl where `queries` is absent")
    queries: Path | None = Field(None, description="queries.jsonl, or a folder with it and, for nDCG, with qrels.tsv")
    baseline: Setting = Field(Setting(ef=128, topk=100), description="setting in force, replayed beside each other one")
    efs: tuple[_Ef, ...] = Field(EFS, min_length=1)
    topks: tuple[_Topk, ...] = (10, 25, 50, 100, 200)
    connectivities: tuple[_Connectivity, ...] = Field((8, 16, 32), description="M")
    expansions: tuple[_Expansion, ...] = Field((100, 200, 400), description="efConstruction")
    dtypes: tuple[Quantisation, ...] = ("f32", "f16", "i8")
    every_combination: bool = Field(
        False, description="the whole product; else every ef with one other change from the baseline at a time"
    )
    rounds: int = Field(3, ge=1, le=100, description="warm replays of every query")
    tau: float = Field(0.5, gt=0, le=1, description="share of the dense leg in the ranking whose nDCG@10 is compared")
    first_share: float = Field(
        0.5, gt=0, lt=1, description="share of the queries that may show a setting to be hopeless"
    )

    @model_validator(mode="after")
    def _measurable(self) -> Self:
        if self.corpus is None and (self.index is None or self.queries is None):
            raise ValueError("name a corpus, or an index with queries")
        if self.baseline.topk < RECALL_AT:
            raise ValueError(f"the baseline's topk is below {RECALL_AT}, at which recall is measured")
        return self


class HarvestTrial(Part):
    """One setting. Those that are reported in any case are not stopped early."""

    number: int
    setting: Setting
    role: Literal["grid", "baseline", "seed grid"]


class HarvestFigures(Part):
    """Times in milliseconds, over the same queries as the baseline's."""

    jaccard_at_10: float
    ndcg_delta: float | None
    """Mean nDCG@10 less that with exact search; None without judged queries."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cold_p50_ms: float
    cold_p95_ms: float
    paired_p50_change_ms: float
    sign_match: bool
    exact_p50_ms: float
    build_cpu_seconds: float
    memory_bytes: int


class HarvestRow(Part):
    """What is recorded of a trial; `figures` is None where it did not come to its end."""

    trial: HarvestTrial
    ending: str
    queries: int
    """That were looked at."""
    recall_at_10: float | None
    figures: HarvestFigures | None = None

    def __str__(self) -> str:
        """One line for people."""
        setting, graph = self.trial.setting, self.trial.setting.graph
        said = f"ef {setting.ef}, topk {setting.topk}, M {graph.connectivity}, efC {graph.expansion_add}, {graph.dtype}"
        if self.figures is None:
            return f"{said}: {self.ending}"
        return f"{said}: recall {self.recall_at_10:.4f}, p95 {self.figures.p95_ms:.3f} ms"


def grid(config: HarvestConfig) -> list[HarvestTrial]:
    """The trials, those of one graph after each other, so that its building is paid once; each setting stands once."""
    found: dict[Setting, Literal["grid", "baseline", "seed grid"]] = {config.baseline: "baseline"}
    seeds = [config.baseline.model_copy(update={"ef": ef, "topk": topk}) for ef, topk in SEED_GRID]
    found |= {setting: "seed grid" for setting in seeds if setting not in found}
    for graph, topk in _graphs(config):
        for ef in _efs(config, topk):
            found.setdefault(Setting(graph=graph, ef=ef, topk=topk), "grid")
    ordered = sorted(found, key=lambda item: (item.graph != config.baseline.graph, str(item.graph)))
    return [HarvestTrial(number=number, setting=item, role=found[item]) for number, item in enumerate(ordered)]


def _efs(config: HarvestConfig, topk: int) -> list[int]:
    """Rising. A search keeps at least as many nodes open as it returns, so of those below topk one stands for all."""
    below = [ef for ef in config.efs if ef < topk]
    return sorted({ef for ef in config.efs if ef >= topk} | set(sorted(below)[-1:]))


def _graphs(config: HarvestConfig) -> list[tuple[GraphOptions, int]]:
    """Graphs with a topk: all, or the baseline's with at most one change."""
    usual, topk = config.baseline.graph, config.baseline.topk
    if config.every_combination:
        options = product(config.connectivities, config.expansions, config.dtypes, config.topks)
        return [(GraphOptions(connectivity=m, expansion_add=efc, dtype=kind), k) for m, efc, kind, k in options]
    changes = [{"connectivity": value} for value in config.connectivities]
    changes += [{"expansion_add": value} for value in config.expansions]
    graphs = [usual, *(usual.model_copy(update=change) for change in changes)]
    graphs += [usual.model_copy(update={"dtype": kind}) for kind in config.dtypes]
    return [(usual, value) for value in config.topks] + [(graph, topk) for graph in dict.fromkeys(graphs)]
