"""`acgs train sft|dapt|dp|run`: fine-tuning of language models. Options become a run file, kept beside the results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml

from acgs.cli.jobs import run_job
from acgs.errors import InvalidInputError
from acgs.files import write_atomic

JOB = "train_jobs.constitutional"

Base = Annotated[str, typer.Option(help="Folder of the base model, or hub:NAME for one that may be downloaded.")]
Data = Annotated[Path, typer.Option(help="Data set of `acgs data import` with the splits train and validation.")]
Output = Annotated[Path, typer.Option(help="Folder for adapter, merged model, card and report.")]
Epochs = Annotated[float, typer.Option(help="Passes over the data.")]
Rate = Annotated[float, typer.Option("--learning-rate", help="Highest learning rate.")]
Batch = Annotated[int, typer.Option("--batch-size", help="Examples a step, over all workers.")]
Rank = Annotated[int, typer.Option(help="Rank of the LoRA adapter.")]
Length = Annotated[int, typer.Option("--max-length", help="Longest row in tokens.")]
Workers = Annotated[int, typer.Option(help="Ray Train workers.")]
Gpu = Annotated[bool, typer.Option("--gpu", help="One GPU for each worker.")]
Address = Annotated[str | None, typer.Option(help="Submit to this Ray cluster (http://host:8265).")]


def run(
    *,
    config: Annotated[Path, typer.Option(help="The run file (YAML): every setting of a run.")],
    output: Output,
    check: Annotated[bool, typer.Option("--check", help="Say whether the run could start, and stop.")] = False,
    address: Address = None,
) -> None:
    """Fine-tune as a run file says. Started again with the same output, it goes on from its last checkpoint.

    Example: `acgs train run --config run.yaml --output ./out --check`
    """
    words = ["--config", str(config), "--output", str(output), *(["--check"] if check else [])]
    run_job(JOB, words, address)


def sft(
    *,
    base: Base,
    data: Data,
    output: Output,
    epochs: Epochs = 3,
    learning_rate: Rate = 2e-4,
    batch_size: Batch = 16,
    rank: Rank = 16,
    max_length: Length = 512,
    workers: Workers = 1,
    gpu: Gpu = False,
    address: Address = None,
) -> None:
    """Fine-tune on answers with LoRA: the loss is on what the assistant says.

    Example: `acgs train sft --base ./model --data ./chats --output ./out --workers 2`
    """
    phase = _phase("sft", data, epochs, rate=learning_rate, batch=batch_size, length=max_length)
    _start(base, phase, output, rank=rank, workers=workers, gpu=gpu, address=address)


def dapt(
    *,
    base: Base,
    data: Data,
    output: Output,
    epochs: Epochs = 1,
    learning_rate: Rate = 2e-4,
    batch_size: Batch = 16,
    rank: Rank = 16,
    max_length: Length = 512,
    workers: Workers = 1,
    gpu: Gpu = False,
    address: Address = None,
) -> None:
    """Adapt to a domain's running text with LoRA: the loss is on every token; short texts share a row.

    Example: `acgs train dapt --base ./model --data ./articles --output ./out`
    """
    phase = {**_phase("dapt", data, epochs, rate=learning_rate, batch=batch_size, length=max_length), "packing": True}
    _start(base, phase, output, rank=rank, workers=workers, gpu=gpu, address=address)


def dp(
    *,
    base: Base,
    data: Data,
    output: Output,
    population: Annotated[str, typer.Option(help="Whose data it is; spending is added up over it.")],
    epsilon: Annotated[float, typer.Option(help="Budget of the data set over all its runs.")] = 8.0,
    delta: Annotated[float, typer.Option(help="Must be smaller than 1 / number of records.")] = 1e-5,
    clip: Annotated[float, typer.Option(help="Bound on the norm of one unit's gradient.")] = 1.0,
    unit: Annotated[
        Literal["record", "sequence", "user"], typer.Option(help="What the guarantee protects one of.")
    ] = "record",
    contribution_cap: Annotated[
        int | None, typer.Option("--contribution-cap", help="With --unit user: records used of one user at most.")
    ] = None,
    epochs: Epochs = 3,
    learning_rate: Rate = 1e-3,
    batch_size: Batch = 64,
    rank: Rank = 16,
    max_length: Length = 512,
    workers: Workers = 1,
    gpu: Gpu = False,
    address: Address = None,
) -> None:
    """Fine-tune on answers with LoRA under differential privacy; the ledger halts the run at 95 % of the budget.

    Example: `acgs train dp --base ./model --data ./chats --population clinic-a --epsilon 8 --output ./out`
    """
    phase = {**_phase("sft", data, epochs, rate=learning_rate, batch=batch_size, length=max_length), "private": True}
    privacy: dict[str, Any] = {
        "target_epsilon": epsilon,
        "delta": delta,
        "max_grad_norm": clip,
        "population": population,
        "unit": unit,
    }
    if contribution_cap is not None:
        privacy["contribution_cap"] = contribution_cap
    _start(base, phase, output, rank=rank, workers=workers, gpu=gpu, address=address, privacy=privacy)


def _phase(
    kind: Literal["sft", "dapt"], data: Path, epochs: float, *, rate: float, batch: int, length: int
) -> dict[str, Any]:
    return {
        "kind": kind,
        "data": str(data.resolve()),
        "epochs": epochs,
        "learning_rate": rate,
        "batch_size": batch,
        "micro_batch_size": min(8, batch),
        "max_length": length,
    }


def _start(
    base: str,
    phase: dict[str, Any],
    output: Path,
    *,
    rank: int,
    workers: int,
    gpu: bool,
    address: str | None,
    privacy: dict[str, Any] | None = None,
) -> None:
    """Write the run file and run the job on it.

    Raises:
        InvalidInputError: the output's name cannot name a run.
    """
    name = output.resolve().name.lower()
    if not name or not name[0].isalnum():
        raise InvalidInputError("the output folder's name names the run; begin it with a letter", field="output")
    source = {"hub": base[len("hub:") :]} if base.startswith("hub:") else {"path": str(Path(base).resolve())}
    settings: dict[str, Any] = {
        "name": "".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in name)[:64],
        "base_model": source,
        "phases": [phase],
        "lora": {"r": rank, "alpha": 2 * rank},
        "workers": workers,
        "use_gpu": gpu,
    }
    if privacy is not None:
        settings["privacy"] = privacy
    path = output / "run.yaml"
    write_atomic(path, yaml.safe_dump(settings, sort_keys=False).encode())
    run_job(JOB, ["--config", str(path), "--output", str(output)], address)
