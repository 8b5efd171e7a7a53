"""The model card of a run: what was trained on what, under which constitution, with which privacy, and its limits."""

from __future__ import annotations

from typing import Any, Final

from acgs.learning.finetune.report import accuracy_kept

SHARES: Final = {
    "tasks solved": ("tasks", "accuracy"),
    "answers that comply": ("compliance", "compliant"),
    "answers that refuse": ("compliance", "refused"),
    "benign prompts refused": ("over_refusal", "refused"),
}
"""Shares of an evaluation by what they are called, with where they stand in it."""


def model_card(report: dict[str, Any], privacy: str | None) -> str:
    """Markdown. `report` is that of `write_report`; `privacy` the statement's section, if the run had any."""
    rows = {
        "Base": f"`{report['base']}`",
        "Constitution": f"`{report['constitution_digest']}`",
        "Data": ", ".join(f"`{item['id'][:16]}` ({item['phase']}, {item['rows']} rows)" for item in report["data"]),
        "Configuration": f"`{report['config_digest']}`, seed {report['seed']}",
        "Code": f"acgs {report['acgs_version']}",
        "Trainable": f"{report['trainable_parameters']:,} of {report['total_parameters']:,} parameters "
        f"({100 * report['trainable_share']:.2f} %)",
        "Ending": report["ending"],
    }
    lines = [f"# {report['name']}", "", "| | |", "|---|---|", *(f"| {key} | {text} |" for key, text in rows.items())]
    lines += ["", "## Held out", "", "| | base | trained |", "|---|---|---|"]
    before, after = report["before"], report["after"]
    lines.append(f"| perplexity | {before['perplexity']:.2f} | {after['perplexity']:.2f} |")
    for label, path in SHARES.items():
        lines.append(f"| {label} | {_share(before, path)} | {_share(after, path)} |")
    kept = accuracy_kept(report)
    if kept is not None:
        lines += ["", f"Of the base's task accuracy {100 * kept:.1f} % is kept."]
    lines += ["", "Intervals are Wilson's at 95 %."]
    if after["compliance"]:
        lines.append(f"Compliance is what `{after['compliance']['judge']}` says of answers to held-out prompts.")
    if report["measured_on_private_rows"]:
        lines.append(
            "The figures were measured on validation rows of the private data itself: epsilon covers the weights, not "
            "these figures. `evaluation.held_out` names other data for them."
        )
    lines += ["", privacy if privacy is not None else "## Privacy\n\nTrained without differential privacy."]
    return "\n".join(lines) + "\n"


def _share(side: dict[str, Any], path: tuple[str, str]) -> str:
    part, name = path
    if side[part] is None:
        return "no data"
    found = side[part][name]
    if found["share"] is None:
        return "no data"
    return f"{found['share']:.3f} [{found['low']:.3f}, {found['high']:.3f}], n = {found['n']}"
