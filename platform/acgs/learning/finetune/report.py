"""The evaluation report: JSON for machines, one HTML page with curves for people."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from acgs.files import write_atomic
from acgs.learning.finetune.outcome import PhaseOutcome

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"


def write_report(directory: Path, report: dict[str, Any], phases: list[PhaseOutcome]) -> None:
    """Write both forms. `report` is what the JSON holds."""
    import orjson

    write_atomic(directory / REPORT_JSON, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    environment = Environment(
        loader=PackageLoader("acgs.learning.finetune", "templates"), autoescape=select_autoescape(default=True)
    )
    curves = [curve_svg(phase) for phase in phases]
    page = environment.get_template("report.html").render(report=report, phases=zip(phases, curves, strict=True))
    write_atomic(directory / REPORT_HTML, page.encode())


def curve_svg(phase: PhaseOutcome) -> str | None:
    """Loss and learning rate over steps as an SVG picture; None where losses are private or there is none."""
    if not phase.curve:
        return None
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    steps = [point[0] for point in phase.curve]
    axes.plot(steps, [point[1] for point in phase.curve], color="#1f5fa8", linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss (nats a token)", color="#1f5fa8")
    rates = axes.twinx()
    rates.plot(steps, [point[2] for point in phase.curve], color="#999999", linewidth=0.8, linestyle="--")
    rates.set_ylabel("learning rate", color="#777777")
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    drawn = out.getvalue()
    return drawn[drawn.index("<svg") :]
