"""The result of a comparison: JSON for machines, one HTML page, and the rows of a table for both page and terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from acgs.files import write_atomic
from acgs.learning.finetune.evaluation import Compliance, OverRefusal, PeakMemory, Proportion
from acgs.learning.finetune.report import accuracy_kept, render_page, svg, tokens_per_second
from acgs.learning.finetune.task_accuracy import TaskScores
from acgs.privacy.statement import AccountSpending, EpsilonFigures

COMPARISON_JSON: Final = "comparison.json"
COMPARISON_HTML: Final = "comparison.html"
BASE: Final = "base"
NO_DATA: Final = "no data"
NOT_TRAINED: Final = "-"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figures(_Part):
    """What a model was measured to be; None is no data."""

    perplexity: float
    tasks: TaskScores | None
    compliance: Compliance | None
    over_refusal: OverRefusal | None
    peak_memory: PeakMemory


class Training(_Part):
    """What it took to train a variant. `epsilon` is None without privacy."""

    run_id: str
    config_digest: str
    data: tuple[str, ...]
    ending: str
    trainable_share: float
    tokens_per_second: float | None
    seconds: float
    accuracy_kept: float | None
    epsilon: EpsilonFigures | None
    delta: float | None
    noise_multiplier: float | None


class Column(_Part):
    """One model of the comparison; the base was not trained."""

    name: str
    figures: Figures
    training: Training | None


class Result(_Part):
    """A whole comparison. `spent` is what all runs on the private data have spent, by account."""

    format: Literal["acgs-comparison/1"] = "acgs-comparison/1"
    name: str
    base: str
    seed: int
    acgs_version: str
    constitution_digest: str
    comparison_digest: str
    coverage: str
    spent: tuple[AccountSpending, ...]
    columns: tuple[Column, ...]


def column(name: str, report: dict[str, Any]) -> Column:
    """A trained variant, from its run's report."""
    privacy = report["privacy"]
    training = Training(
        run_id=report["run_id"],
        config_digest=report["config_digest"],
        data=tuple(item["id"] for item in report["data"]),
        ending=report["ending"],
        trainable_share=report["trainable_share"],
        tokens_per_second=tokens_per_second(report),
        seconds=report["training_seconds"],
        accuracy_kept=accuracy_kept(report),
        epsilon=EpsilonFigures.model_validate(privacy["epsilon"]) if privacy else None,
        delta=privacy["plan"]["delta"] if privacy else None,
        noise_multiplier=privacy["plan"]["noise_multiplier"] if privacy else None,
    )
    return Column(name=name, figures=Figures.model_validate(report["after"]), training=training)


def collect(reports: Mapping[str, dict[str, Any]], *, comparison_digest: str, coverage: str, name: str) -> Result:
    """Put the reports of finished variants side by side, in their order; the base is as the first of them saw it."""
    first = next(iter(reports.values()))
    base = Column(name=BASE, figures=Figures.model_validate(first["before"]), training=None)
    private = [report["privacy"] for report in reports.values() if report["privacy"]]
    return Result(
        name=name,
        base=first["base"],
        seed=first["seed"],
        acgs_version=first["acgs_version"],
        constitution_digest=first["constitution_digest"],
        comparison_digest=comparison_digest,
        coverage=coverage,
        # The one that spent last has seen what the others spent.
        spent=tuple(max((item["composed"] for item in private), key=_spent, default=())),
        columns=(base, *(column(variant, report) for variant, report in reports.items())),
    )


def _spent(composed: Iterable[dict[str, Any]]) -> float:
    return float(sum(item["epsilon"]["rdp"] for item in composed))


def rows(result: Result) -> list[tuple[str, ...]]:
    """A table of words: the figure's name, then one cell a model."""
    columns = result.columns
    figures = [column.figures for column in columns]
    first = figures[0]

    def shares(label: str, found: Sequence[Proportion | None]) -> tuple[str, ...]:
        n = next((share.n for share in found if share is not None), 0)
        return (f"{label}, n = {n}" if n else label, *map(in_words, found))

    def trained(label: str, word: Callable[[Training], str]) -> tuple[str, ...]:
        return (label, *(word(item.training) if item.training else NOT_TRAINED for item in columns))

    judged = [item.compliance for item in figures]
    table: list[tuple[str, ...]] = [
        ("Perplexity, held out", *(f"{item.perplexity:.2f}" for item in figures)),
        shares("Tasks solved", [item.tasks.accuracy if item.tasks else None for item in figures]),
        trained("… kept of the base's accuracy", lambda item: _percent(item.accuracy_kept)),
        shares("Answers that comply", [item.compliant if item else None for item in judged]),
        shares("… by the rules alone", [item.by_rules if item else None for item in judged]),
        shares("Answers that refuse", [item.refused if item else None for item in judged]),
        shares(
            "Benign prompts refused", [item.over_refusal.refused if item.over_refusal else None for item in figures]
        ),
        trained("Epsilon", _epsilon),
        trained("Trainable parameters", lambda item: f"{100 * item.trainable_share:.2f} %"),
        trained("Target tokens a second", lambda item: _number(item.tokens_per_second, 0)),
        ("Peak memory, MiB", *(_number(item.peak_memory.resident / 2**20, 0) for item in figures)),
        trained("Training, s", lambda item: _number(item.seconds, 1)),
        trained("Ending", lambda item: item.ending),
    ]
    if first.peak_memory.cuda is not None:
        on_device = (_number((item.peak_memory.cuda or 0) / 2**20, 0) for item in figures)
        table.insert(-2, ("Peak GPU memory, MiB", *on_device))
    return table


def principle_rows(result: Result, *, breached_only: bool = False) -> list[tuple[str, ...]]:
    """Share of answers that do not breach each principle, or each that any model breached; empty without answers."""
    judged = [column.figures.compliance for column in result.columns]
    names = list(judged[0].by_principle) if judged[0] else []
    if breached_only:
        shares = {name: [item.by_principle[name] for item in judged if item] for name in names}
        names = [name for name in names if any(share.count < share.n for share in shares[name])]
    return [(name, *(in_words(item.by_principle[name] if item else None) for item in judged)) for name in names]


def in_words(share: Proportion | None) -> str:
    """A share with its interval."""
    if share is None or share.share is None:
        return NO_DATA
    return f"{share.share:.3f} [{share.low:.3f}, {share.high:.3f}]"


def write_result(directory: Path, result: Result) -> None:
    """Write both forms."""
    page = render_page(
        "comparison.html",
        result=result,
        rows=rows(result),
        principles=principle_rows(result),
        judge=next((item.figures.compliance.judge for item in result.columns if item.figures.compliance), None),
        chart=chart_svg(result),
    )
    write_atomic(directory / COMPARISON_HTML, page.encode())
    write_atomic(directory / COMPARISON_JSON, result.model_dump_json(indent=1).encode())


def chart_svg(result: Result) -> str:
    """One panel a figure, one line a model; bars span Wilson's 95 % intervals."""
    from matplotlib.figure import Figure

    names = [column.name for column in result.columns]
    figures = [column.figures for column in result.columns]
    panels: dict[str, list[Proportion | None]] = {
        "tasks solved": [item.tasks.accuracy if item.tasks else None for item in figures],
        "answers that comply": [item.compliance.compliant if item.compliance else None for item in figures],
        "benign prompts refused": [item.over_refusal.refused if item.over_refusal else None for item in figures],
    }
    drawn = {title: shares for title, shares in panels.items() if any(share is not None for share in shares)}
    figure = Figure(figsize=(2.6 * (1 + len(drawn)) + 0.8, 0.32 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots(1, 1 + len(drawn), sharey=True, squeeze=False)[0]
    axes[0].plot([item.perplexity for item in figures], names, "o", color=_INK)
    axes[0].set_title("perplexity, held out", fontsize=9)
    for place, (title, shares) in enumerate(drawn.items(), start=1):
        for name, share in zip(names, shares, strict=True):
            if share is not None and share.share is not None and share.low is not None and share.high is not None:
                # At 0 and 1 the interval ends a rounding error beyond the share.
                spread = [[max(0.0, share.share - share.low)], [max(0.0, share.high - share.share)]]
                axes[place].errorbar([share.share], [name], xerr=spread, fmt="o", color=_INK, capsize=2, linewidth=1)
        axes[place].set_xlim(-0.03, 1.03)
        axes[place].set_title(title, fontsize=9)
    axes[0].invert_yaxis()
    for axis in axes:
        axis.grid(axis="x", color="#e5e5e5", linewidth=0.6)
        axis.tick_params(labelsize=8)
    return svg(figure)


_INK: Final = "#1f5fa8"


def _epsilon(training: Training) -> str:
    if training.epsilon is None:
        return "no guarantee"
    prv = f", {training.epsilon.prv:.3f} (PRV)" if training.epsilon.prv is not None else ""
    return f"{training.epsilon.rdp:.3f} (RDP){prv}"


def _percent(share: float | None) -> str:
    return NO_DATA if share is None else f"{100 * share:.1f} %"


def _number(value: float | None, digits: int) -> str:
    return NO_DATA if value is None else f"{value:.{digits}f}"
