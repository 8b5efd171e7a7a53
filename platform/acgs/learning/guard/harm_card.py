"""The model card of a harm adapter."""

from __future__ import annotations

import json

from acgs.governance.harm_adapter import HarmAdapterManifest
from acgs.learning.guard.auroc_comparison import Comparison
from acgs.privacy.statement import PrivacyStatement
from acgs.statistics.classification import Estimate


def harm_card(
    manifest: HarmAdapterManifest, comparison: Comparison, statement: PrivacyStatement, *, training: int
) -> str:
    """Markdown that says what the adapter is, what it was made of, how good it was when made, and its limits."""
    slices = list(next(iter(comparison.auroc.values())))
    lines = [
        f"# {manifest.name}",
        "",
        "A LoRA adapter with one head, harm, on the upper layers of MiniLM, trained under the constitution with digest "
        f"`{manifest.constitution_digest}`, seed {manifest.seed}.",
        "",
        "## Made from",
        "",
        *(f"- `{name}`, SHA-256 `{digest}`" for name, digest in manifest.data.items()),
        "",
        f"{training} texts were trained on; {comparison.n} others, of {comparison.groups} other groups, were held out. "
        "A dialogue of `hh_rlhf_harmless_test` is one text, its last question with one of two answers; it is labelled "
        "harmful where a person found that answer the worse of the two. That is a relative and noisy label.",
        "",
        "## AUROC on held-out texts",
        "",
        f"With 95 % intervals from {comparison.resamples} resamples of whole groups.",
        "",
        "| | " + " | ".join(slices) + " |",
        "|---|" + "---|" * len(slices),
    ]
    for table in (comparison.auroc, comparison.difference, comparison.ratio):
        for name, row in table.items():
            lines.append(f"| {name} | " + " | ".join(in_words(row[part]) for part in slices) + " |")
    lines += [
        "",
        "The held-out texts are no part of the guarantee below: figures of them are published. Models without privacy "
        "are in the table for comparison only and are not kept.",
        "",
        statement.markdown(),
        "## Limits",
        "",
        "English only. It knows nothing of single principles and is calibrated on nothing: its score stands beside the "
        "guard's under its own name and takes part in no decision. Scores are no judgement of a person.",
        "",
        "## Configuration",
        "",
        "```json",
        json.dumps(manifest.config, indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)


def in_words(estimate: Estimate | None) -> str:
    """A figure with its interval."""
    if estimate is None:
        return "no data"
    if estimate.lower is None or estimate.upper is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.lower:.3f} to {estimate.upper:.3f})"
