"""Train a harm adapter with differential privacy: `python -m train_jobs.guard_adapter --data DIR --output DIR`.

Runs as it stands or through `ray job submit`. Every noisy step is in the privacy ledger before it runs; a killed run,
started again with the same output, goes on from its last checkpoint with the steps that are left.
Exit codes: 0 trained, 1 failed on the way, 2 refused before anything was computed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import structlog

from acgs.constitution.source import load_locked
from acgs.errors import AcgsError
from acgs.settings import Settings


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one sub-folder a set")
    parser.add_argument("--output", type=Path, required=True, help="folder for the adapter, its manifest and card")
    parser.add_argument("--config", type=Path, help="run file (YAML); default: the settings that fit the public sets")
    parser.add_argument("--epsilon", type=float, help="budget of each set over all its runs (default: 8)")
    parser.add_argument("--seed", type=int, help="of the split and the initial weights; the noise has none")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also train a frozen baseline and LoRA without privacy; what they read is in no ledger: public data only",
    )
    parser.add_argument("--check", action="store_true", help="look at everything that can be refused, and stop")
    return parser.parse_args(arguments)


def configured(options: argparse.Namespace) -> Any:
    """The run's configuration: the file's, changed by options.

    Raises:
        InvalidInputError: a setting does not fit.
    """
    from acgs.learning.finetune.config import load_settings
    from acgs.learning.guard.harm_run import HarmConfig, changed
    from acgs.learning.guard.private_adapter import PlainSettings

    config = load_settings(options.config, HarmConfig) if options.config else HarmConfig()
    top = {} if options.seed is None else {"seed": options.seed}
    if options.compare and config.compared is None:
        top["compared"] = PlainSettings().model_dump()
    private = {} if options.epsilon is None else {"target_epsilon": options.epsilon}
    return changed(config, top, private)


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    options = parse_arguments(arguments)
    log = structlog.get_logger("train_jobs.guard_adapter")
    started = time.monotonic()
    try:
        from acgs.learning.guard.harm_run import HarmRun
        from acgs.privacy.sql_ledger import open_ledger

        settings = Settings()
        constitution = load_locked(settings.constitution_path)
        run = HarmRun(constitution, options.data, options.output, configured(options), open_ledger(settings))
        if run.finished:
            sys.stdout.write(f"this run is finished: {options.output}\n")
            return 0
        name, plan = run.plan()
    except AcgsError as error:
        sys.stderr.write(f"acgs: {error.message}\n")
        return 2
    if options.check:
        sys.stdout.write(f"{name} can start: {plan.steps} steps, noise multiplier {plan.noise_multiplier:.3f}\n")
        return 0
    try:
        outcome = run.execute(lambda line: log.info(line, seconds=round(time.monotonic() - started)))
    except AcgsError as error:
        sys.stderr.write(f"acgs: {error.message}\n")
        return 1
    epsilon = outcome.statement.epsilon
    log.info("done", steps=outcome.steps, epsilon_rdp=epsilon.rdp, epsilon_prv=epsilon.prv, manifest=outcome.digest)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
