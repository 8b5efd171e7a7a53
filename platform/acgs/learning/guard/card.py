"""The model card of a guard bundle, with the figures of the run that made it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from acgs.governance.bundle import Manifest
from acgs.learning.guard.corpus import Corpus


def quality_by_source(
    corpus: Corpus, scores: NDArray[np.float32], *, only: NDArray[np.bool_] | None = None
) -> dict[str, dict[str, float]]:
    """AUPRC and AUROC of the overall head per source, on scores of texts that were held out from training.

    A source with one label only has a recall or specificity at logit 0 instead.
    """
    chosen = np.ones(len(scores), dtype=bool) if only is None else only
    result: dict[str, dict[str, float]] = {}
    sources = np.array(corpus.sources)
    for source in dict.fromkeys(corpus.sources):
        rows = chosen & (sources == source)
        labels, found = corpus.violates[rows], scores[rows]
        figures = {"n": float(rows.sum()), "violations": float(labels.sum())}
        if labels.any() and not labels.all():
            figures["auprc"] = float(average_precision_score(labels, found))
            figures["auroc"] = float(roc_auc_score(labels, found))
        elif labels.any():
            figures["recall_at_logit_0"] = float((found > 0).mean())
        result[source] = {name: round(value, 4) for name, value in figures.items()}
    return result


def model_card(manifest: Manifest, sets: Sequence[str], config: dict[str, Any]) -> str:
    """Markdown that says what the bundle is, what it was made from, how good it was when made, and its limits."""
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        f"A guard bundle trained under the constitution with digest `{manifest.constitution_digest}`.",
        "Inline tier: static token embeddings with short convolutions. Second tier: a LoRA adapter on MiniLM.",
        "",
        "## Made from",
        "",
        f"Phrases and situations generated from the constitution (seed {manifest.seed}) and the public sets "
        + ", ".join(f"`{name}`" for name in sets)
        + ". Unlabelled sentences of `hh_rlhf_harmless_test` serve distillation.",
        "",
        "## Held-out quality when made",
        "",
        "Inline: every text scored by an encoder trained without its fold. Comprehensive: each text by the adapter "
        "that did not see its fold; what is served is the average of the adapters. The distillation teacher saw the "
        "other folds, so inline figures can be slightly high.",
        "",
        "| tier | source | n | violations | AUPRC | AUROC | recall at logit 0 |",
        "|---|---|---|---|---|---|---|",
    ]
    for tier, sources in manifest.metrics["quality"].items():
        for source, row in sources.items():
            figures = " | ".join(str(row.get(name, "")) for name in ("auprc", "auroc", "recall_at_logit_0"))
            lines.append(f"| {tier} | {source} | {row['n']:.0f} | {row['violations']:.0f} | {figures} |")
    forest = {name: value for name, value in manifest.metrics.items() if name != "quality"}
    lines += [
        "",
        "## Policy forest",
        "",
        "```json",
        json.dumps(forest, indent=1),
        "```",
        "",
        f"Trees without a vote: {', '.join(manifest.flagged_trees) or 'none'}.",
        "",
        "## Limits",
        "",
        "English only. Trained on short requests and public posts: long documents, other languages and code are out of "
        "distribution. It scores text; facts are the rules' business. Scores are no judgement of a person.",
        "",
        "## Configuration",
        "",
        "```json",
        json.dumps(config, indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)
