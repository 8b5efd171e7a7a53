"""Train the guard bundle: `python -m train_jobs.guard --data DIR --output DIR`.

Runs as it stands or through `ray job submit`; an interrupted run goes on from its last finished stage.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import structlog

from acgs.constitution.source import load_locked
from acgs.errors import AcgsError


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one sub-folder a public set")
    parser.add_argument("--output", type=Path, required=True, help="folder for the bundle")
    parser.add_argument("--constitution", type=Path, help="folder of the constitution (default: the shipped one)")
    parser.add_argument("--work", type=Path, default=Path(".acgs/guard-training"), help="keeps finished stages")
    parser.add_argument("--signing-key", type=Path, help="Ed25519 PEM (default: <work>/signing-key.pem, made anew)")
    parser.add_argument("--version", default="1.0.0", help="SemVer of the bundle")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--set", action="append", dest="sets", help="a public set to use; repeat (default: all)")
    parser.add_argument("--check", action="store_true", help="assemble the corpus, say how large it is, and stop")
    parser.add_argument("--quick", action="store_true", help="small data and one epoch, to try the job out")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    options = parse_arguments(arguments)
    log = structlog.get_logger("train_jobs.guard")
    started = time.monotonic()
    try:
        from acgs.audit.keys import SigningKey
        from acgs.learning.guard.pipeline import GuardConfig, GuardTraining

        config = GuardConfig(version=options.version, seed=options.seed)
        if options.sets:
            config = replace(config, sets=tuple(options.sets))
        if options.quick:
            # Sizes for trying the job out in a few minutes; the bundle it makes is not good.
            config = replace(
                config,
                phrases=2_000,
                adapter_phrases=500,
                dialogue_sentences=500,
                exchanged_texts=1_000,
                folds=2,
                adapter=replace(config.adapter, epochs=1, rank=4),
                student=replace(config.student, epochs=2),
            )
        options.work.mkdir(parents=True, exist_ok=True)
        key = SigningKey.load_or_create(options.signing_key or options.work / "signing-key.pem")
        training = GuardTraining(
            load_locked(options.constitution),
            options.data,
            options.work,
            config,
            lambda line: log.info(line, seconds=round(time.monotonic() - started)),
        )
        if options.check:
            training.corpus()
            return 0
        manifest = training.run(options.output, key)
    except AcgsError as error:
        sys.stderr.write(f"acgs: {error.message}\n")
        return 2
    log.info(
        "done", version=manifest.version, trees=manifest.metrics["trees"], seconds=round(time.monotonic() - started)
    )
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
