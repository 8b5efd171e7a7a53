"""`acgs demo train`: scenarios, critique-revision, pre-training and private fine-tuning, by the commands themselves."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml
from rich.console import Console

from acgs.errors import AcgsError, UnavailableError
from acgs.settings import Settings

PUBLIC_ROWS: Final = 600
PRIVATE_ROWS: Final = 700
_SEEDS: Final = 2**31


class DemoStepError(AcgsError):
    """A command of the demo failed; its own words stand above."""

    code = "demo_step_failed"


def train(
    folder: Annotated[
        Path | None, typer.Option(help="Where data and results go. Default: a new folder in the state directory.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the private data. Default: drawn anew.")] = None,
) -> None:
    """Fine-tune a tiny Llama under the constitution, with differential privacy, in a few minutes on two cores.

    Every step is a command that is shown as it can be typed. Each call makes private data of its own, because what a
    run has spent of a data set's privacy is spent for good.
    """
    if find_spec("torch") is None:
        raise UnavailableError("training needs the extra 'train': pip install 'acgs[train]'")
    seed = secrets.randbelow(_SEEDS) if seed is None else seed
    folder = (folder or Settings().state_dir / f"demo-training-{seed}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    started = time.monotonic()
    (folder / "run.yaml").write_text(yaml.safe_dump(_run_file(seed), sort_keys=False), encoding="utf-8")
    console.print(f"Training in {os.path.relpath(folder)}, every step a command:", highlight=False)
    for words in _steps(seed):
        console.print(f"\n[bold]$ acgs {shlex.join(words)}[/]", highlight=False, soft_wrap=True)
        _call(words, folder)
    report = json.loads((folder / "out" / "report.json").read_bytes())
    for line in _summary(report, folder):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"All of it took {time.monotonic() - started:.0f} s.", highlight=False)


def _steps(seed: int) -> list[list[str]]:
    def made(name: str, rows: int, number: int) -> list[list[str]]:
        file = f"{name}.jsonl"
        generate = ["data", "generate", "--count", str(rows), "--seed", str(number), "--output", file]
        kind = ["--format", "scenario-responses", "--split", "0.8/0.1/0.1"]
        return [generate, ["data", "import", file, *kind, "--output", name]]

    return [
        *made("public", PUBLIC_ROWS, seed + 1),
        *made("private", PRIVATE_ROWS, seed),
        ["data", "revise", "private", "--output", "revised"],
        ["train", "run", "--config", "run.yaml", "--output", "out"],
        ["privacy", "ledger"],
    ]


def _run_file(seed: int) -> dict[str, Any]:
    """Two phases: all weights on public text, then LoRA on the revised answers, privately, on two workers."""
    shared = {"learning_rate": 2e-3, "batch_size": 16, "max_length": 384}
    return {
        "name": "demo",
        "base_model": {"tiny": {"corpus": "public.jsonl", "layers": 2, "vocabulary": 2048}},
        "phases": [
            {"kind": "dapt", "data": "public", "method": "full", "epochs": 2, **shared},
            {"kind": "sft", "data": "revised/sft", "private": True, "epochs": 3, **shared},
        ],
        "lora": {"r": 4, "alpha": 8},
        "privacy": {"target_epsilon": 8.0, "population": f"demo-{seed}"},
        "evaluation": {"max_prompts": 16, "max_new_tokens": 24},
        "checkpoint_every_steps": 5,
        "workers": 2,
        "seed": seed,
    }


def _call(words: Sequence[str], folder: Path) -> None:
    # The demo's own state directory, however the command's is given, so that the ledger is the installation's.
    environment = {**os.environ, "ACGS_STATE_DIR": str(Settings().state_dir.resolve())}
    command = [sys.executable, "-m", "acgs", *words]
    if subprocess.run(command, cwd=folder, env=environment, check=False).returncode:  # noqa: S603 - our own command
        raise DemoStepError(f"the demo stopped at 'acgs {words[0]} {words[1]}'")


def _summary(report: dict[str, Any], folder: Path) -> list[str]:
    privacy, pre_training = report["privacy"], report["phases"][0]
    where = os.path.relpath(folder / "out")
    first, last = pre_training["curve"][0][1], pre_training["curve"][-1][1]
    return [
        f"\nPre-training took the loss from {first:.2f} to {last:.2f} nats a token in {pre_training['steps']} steps.",
        f"Fine-tuning spent epsilon {max(privacy['epsilon'].values()):.2f} of {privacy['plan']['target_epsilon']:g} "
        f"(delta {privacy['plan']['delta']:g}) in {privacy['steps_settled'] + privacy['steps_unsettled']} steps.",
        f"Trained {report['trainable_share']:.1%} of the weights; the adapter has {report['adapter_bytes']:,} bytes.",
        "So small a model answers nothing well; that every part runs is what is shown.",
        f"Look at {where}/report.html and {where}/MODEL_CARD.md.",
    ]
