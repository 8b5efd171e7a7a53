"""The report of a run as one HTML page that needs nothing beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape

from acgs.release.report import leaves
from acgs.release.t1.package import Findings

PAGE_FILE: Final = "report.html"
_WORST: Final = 5


def page(found: Findings, facts: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """The page; texts of queries and documents are escaped."""
    environment = Environment(
        loader=PackageLoader("acgs.release.t1", "templates"), autoescape=select_autoescape(default=True)
    )
    losses = [item for item in found.confirmed if item.change < 0]
    worst = sorted(losses, key=lambda item: (item.change, item.query))[:_WORST]
    return environment.get_template("report.html").render(
        facts=facts,
        contract=found.contract,
        guards=list(leaves(found.contract.result)),
        plots={name: b64encode(data).decode() for name, data in plots.items()},
        audits=found.audits,
        gate=found.final.routed.gate,
        why_no_gate=found.final.routed.reason,
        served=found.swept.served,
        chosen=found.swept.chosen,
        exact_ms=found.swept.exact_p50_ms,
        worst=[(found.collection.queries[item.query], item) for item in worst],
        configuration=found.final.configuration,
    )
