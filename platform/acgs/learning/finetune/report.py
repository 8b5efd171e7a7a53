"""The evaluation report: JSON for machines, one HTML page with curves for people."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, select_autoescape

from acgs.files import write_atomic
from acgs.learning.finetune.outcome import PhaseOutcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"


def write_report(directory: Path, report: dict[str, Any], phases: list[PhaseOutcome]) -> None:
    """Write both forms. `report` is what the JSON holds, together with the figures that follow from it."""
    import orjson

    report = {**report, "accuracy_kept": accuracy_kept(report), "tokens_per_second": tokens_per_second(report)}
    write_atomic(directory / REPORT_JSON, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    curves = [curve_svg(phase) for phase in phases]
    page = render_page("report.html", report=report, phases=zip(phases, curves, strict=True))
    write_atomic(directory / REPORT_HTML, page.encode())


def render_page(template: str, **values: Any) -> str:
    """One of this package's pages; what it shows is escaped."""
    environment = Environment(
        loader=PackageLoader("acgs.learning.finetune", "templates"), autoescape=select_autoescape(default=True)
    )
    return environment.get_template(template).render(**values)


def accuracy_kept(report: dict[str, Any]) -> float | None:
    """Task accuracy of the trained model over that of the base; None without tasks, or where the base solves none."""
    before, after = report["before"]["tasks"], report["after"]["tasks"]
    if not before or not after or not before["accuracy"]["share"]:
        return None
    return float(after["accuracy"]["share"] / before["accuracy"]["share"])


def tokens_per_second(report: dict[str, Any]) -> float | None:
    """Target tokens a second of all phases, their checkpoints and checks included; None where no step ran."""
    seconds = sum(phase["seconds"] for phase in report["phases"])
    return float(sum(phase["tokens"] for phase in report["phases"]) / seconds) if seconds else None


def curve_svg(phase: PhaseOutcome) -> str | None:
    """Loss and learning rate over steps as an SVG picture; None where losses are private or there is none."""
    if not phase.curve:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.add_subplot()
    steps = [point[0] for point in phase.curve]
    axes.plot(steps, [point[1] for point in phase.curve], color="#1f5fa8", linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss (nats a token)", color="#1f5fa8")
    rates = axes.twinx()
    rates.plot(steps, [point[2] for point in phase.curve], color="#999999", linewidth=0.8, linestyle="--")
    rates.set_ylabel("learning rate", color="#777777")
    return svg(figure)


def svg(figure: Figure) -> str:
    """A figure as the element that a page holds."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    drawn = out.getvalue()
    return drawn[drawn.index("<svg") :]
