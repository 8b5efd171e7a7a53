"""From a finished run to what is handed on: the adapter, the merged model, the report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from acgs.learning.finetune.adapters import ADAPTER_WEIGHTS, attach, load_adapter_weights, merged
from acgs.learning.finetune.base_models import Base, open_base, save_base
from acgs.learning.finetune.config import RunConfig
from acgs.learning.finetune.outcome import RunOutcome
from acgs.learning.finetune.run import ADAPTER, MODEL

MERGED = "merged"


def collect_adapter(config: RunConfig, output: Path) -> int | None:
    """Put the last phase's adapter at `output/adapter` and, where asked for, the merged model at `output/merged`.

    Returns:
        Bytes of the adapter's weights; None for a run that trained all weights.
    """
    base = open_base(config.base_model)
    for number, phase in enumerate(config.phases):
        if phase.method == "full":
            from safetensors.torch import load_model

            load_model(base.model, output / "phases" / str(number) / MODEL / "model.safetensors")
    if config.phases[-1].method == "full":
        save_base(base, output / MERGED)
        return None
    folder = output / "phases" / str(len(config.phases) - 1) / ADAPTER
    # PEFT's own card is an empty form; ours lies beside the adapter's folder.
    shutil.copytree(folder, output / ADAPTER, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md"))
    if config.export_merged:
        model = attach(base.model, config.lora)
        load_adapter_weights(model, folder)
        save_base(Base(merged(model), base.tokenizer, base.name), output / MERGED)
    return (folder / ADAPTER_WEIGHTS).stat().st_size


def full_report(config: RunConfig, outcome: RunOutcome, **lineage: Any) -> dict[str, Any]:
    """Everything about a run that the report and the card show."""
    reasons = [f"{phase.kind}: {phase.reason}" for phase in outcome.phases]
    training = sum(phase.seconds for phase in outcome.phases)
    return {
        "name": config.name,
        "seed": config.seed,
        "ending": "; ".join(reasons) + ".",
        **outcome.model_dump(mode="json"),
        "trainable_share": outcome.trainable_parameters / outcome.total_parameters,
        "training_seconds": training,
        "measured_on_private_rows": config.phases[-1].private and config.evaluation.held_out is None,
        "validation_share": outcome.validation_seconds / training if training else 0.0,
        **lineage,
    }
