"""What differential privacy costs a LoRA run: throughput and peak memory against the same run without it.

Run with `python -m benchmarks.dp_lora [--quick]`. A Llama-shaped model from configuration, LoRA on all linear layers,
AdamW, float32, one thread. A step is forward, backward, clipping, noise and optimiser on one physical batch; in the
table of logical batches, noise and optimiser come once per several physical batches, as in training. Modes take
turns step by step, so that a slow minute slows them all. Ratios are of median CPU time to the step without privacy; the
reference is PEFT's own LoRA with the same loss. Peak memory is of a fresh process that runs one mode, less what the
interpreter and libraries take before the model is built.
"""

from __future__ import annotations

import os

# Before torch is imported: CPU time of one thread is comparable on a loaded machine.
os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from torch import nn

MODES = ("none", "factored", "hooks", "ghost")
MEMORY_STEPS = 3
WIDTH = 150


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: `physical` batches of `batch` sequences of `length` tokens per step, LoRA of `rank`."""

    batch: int
    length: int
    rank: int
    physical: int = 1
    freeze_a: bool = False
    checkpointing: bool = False


SETTINGS = (
    Setting(4, 512, 16),
    Setting(1, 512, 16),
    Setting(8, 512, 16),
    Setting(4, 512, 4),
    Setting(4, 512, 64),
    Setting(4, 512, 16, freeze_a=True),
    Setting(1, 512, 16, physical=4),
    Setting(8, 128, 16),
    Setting(8, 96, 16),
    Setting(16, 32, 16),
    Setting(4, 512, 16, checkpointing=True),
)
QUICK = (Setting(4, 512, 16), Setting(8, 96, 16))
MEMORY_SETTINGS = (
    Setting(4, 512, 16),
    Setting(16, 512, 16),
    Setting(4, 512, 64),
    Setting(16, 96, 16),
    Setting(4, 512, 16, checkpointing=True),
)


def build(setting: Setting) -> nn.Module:
    """About 8.6 million frozen parameters in 4 layers of width 384."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from acgs.learning.dp.ffa import freeze_a

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2_000, hidden_size=384, intermediate_size=1_024, num_hidden_layers=4, num_attention_heads=6
    )
    model = get_peft_model(
        LlamaForCausalLM(config), LoraConfig(r=setting.rank, lora_alpha=32, target_modules="all-linear")
    )
    if setting.freeze_a:
        freeze_a(model)
    if setting.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        model.enable_input_require_grads()
    return model.train()


def stepper(setting: Setting, mode: str) -> Callable[[], None]:
    """A function that does one step in the mode."""
    import torch

    from acgs.learning.dp.engine import PrivateGradients
    from acgs.learning.dp.losses import per_sequence_loss

    model: Any = build(setting)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.randint(0, 2_000, (setting.batch, setting.length))
    mask, logical = torch.ones_like(ids), setting.batch * setting.physical

    def losses() -> torch.Tensor:
        return per_sequence_loss(model(input_ids=ids, use_cache=False).logits, ids, mask)

    if mode == "none":

        def plain() -> None:
            for _ in range(setting.physical):
                torch.autograd.backward(losses().sum() / logical)
            optimizer.step()
            optimizer.zero_grad()

        return plain
    engine = PrivateGradients(
        model,
        optimizer,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=logical,
        physical_batch_size=setting.batch,
        mode=mode,  # type: ignore[arg-type]
    )

    def private() -> None:
        for _ in range(setting.physical):
            engine.backward(losses())
        engine.step()

    return private


def throughput_rows(setting: Setting, repeats: int) -> list[dict[str, Any]]:
    """CPU milliseconds per step of each mode, interleaved, after two steps of warm-up."""
    steps = {mode: stepper(setting, mode) for mode in MODES}
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(repeats + 2):
        for mode, step in steps.items():
            started = time.process_time()
            step()
            if number >= 2:
                times[mode].append((time.process_time() - started) * 1e3)
    reference = median(times["none"])
    return [
        {
            "mode": mode,
            "n": len(values),
            "p50": median(values),
            "p99": sorted(values)[min(len(values) - 1, int(len(values) * 0.99))],
            "ratio": reference / median(values),
        }
        for mode, values in times.items()
    ]


def _memory_mib(field: str) -> float:
    """From /proc: the peak in getrusage is inherited from the parent, this one is the process's own."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def memory_of_this_process(setting: Setting, mode: str) -> dict[str, float]:
    """MiB over the process without a model, at the peak of `MEMORY_STEPS` steps."""
    import torch

    torch.set_num_threads(1)
    # Loaded and run once in every mode, so that the libraries' code and buffers count for none.
    import_module("opacus.grad_sample")
    stepper(Setting(1, 8, 4), mode)()
    before = _memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step = stepper(setting, mode)
    for _ in range(MEMORY_STEPS):
        step()
    return {"peak_mib": _memory_mib("VmHWM") - before}


def peak_mib(setting: Setting, mode: str) -> float:
    """Peak of one mode in a fresh process."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.dp_lora",
        "--memory",
        mode,
        json.dumps(asdict(setting)),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(output.splitlines()[-1])["peak_mib"])


def _label(setting: Setting) -> str:
    extra = [name for name in ("freeze_a", "checkpointing") if getattr(setting, name)]
    if setting.physical > 1:
        extra.append(f"{setting.physical} per step")
    return ", ".join(extra) or "-"


def throughput_table(settings: tuple[Setting, ...], repeats: int) -> Table:
    """All modes of all settings."""
    columns = ("batch", "length", "rank", "option", "mode", "n", "p50 ms", "p99 ms", "of non-private")
    table = Table(*columns, title="CPU time of a step and throughput relative to LoRA without privacy")
    for setting in settings:
        for row in throughput_rows(setting, repeats):
            shown = (setting.batch, setting.length, setting.rank, _label(setting), row["mode"], row["n"])
            table.add_row(*map(str, shown), f"{row['p50']:.0f}", f"{row['p99']:.0f}", f"{row['ratio']:.2f}")
        table.add_section()
    return table


def memory_table(settings: tuple[Setting, ...]) -> Table:
    """Peak memory of all modes of all settings, one fresh process each."""
    table = Table("batch", "length", "rank", "option", "mode", "peak MiB", "of non-private", title="Peak memory")
    for setting in settings:
        reference = 0.0
        for mode in MODES:
            peak = peak_mib(setting, mode)
            reference = reference or peak
            shown = (setting.batch, setting.length, setting.rank, _label(setting), mode)
            table.add_row(*map(str, shown), f"{peak:.0f}", f"{peak / reference:.2f}")
        table.add_section()
    return table


def main() -> None:
    """Print both tables, or measure one mode's memory when called as the fresh process."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    if sys.argv[1:2] == ["--memory"]:
        print(json.dumps(memory_of_this_process(replace(QUICK[0], **json.loads(sys.argv[3])), sys.argv[2])))
        return
    import torch

    torch.set_num_threads(1)
    quick = "--quick" in sys.argv
    console = Console(width=WIDTH)
    before = os.getloadavg()[0]
    console.print(throughput_table(QUICK if quick else SETTINGS, repeats=5 if quick else 9))
    console.print(memory_table(QUICK if quick else MEMORY_SETTINGS))
    console.print(
        f"load average {before:.2f} before, {os.getloadavg()[0]:.2f} after; one thread; torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
