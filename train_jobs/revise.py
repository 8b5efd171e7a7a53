"""Critique and revise a data set with a model on Ray actors: `python -m train_jobs.revise --config FILE --output DIR`.

The file has the keys of `acgs.learning.revision.config.RevisionConfig`; `acgs data revise --actors N` writes one. Runs
as it stands or through `ray job submit`. Killed, and started again with the same output, it goes on where it stopped.
Exit codes: 0 done, 1 failed on the way, 2 refused, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from acgs.cli.output import JSON_OPTION, write_error
from acgs.cli.revision import run_revision
from acgs.errors import AcgsError, InvalidInputError

if TYPE_CHECKING:
    from acgs.learning.revision.config import RevisionConfig
    from acgs.learning.revision.generator import Generator
    from acgs.learning.revision.opening import GeneratorChoice

INTERRUPTED = 130


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the run file (YAML)")
    parser.add_argument("--output", type=Path, required=True, help="folder for chains, data sets and report")
    parser.add_argument(JSON_OPTION, action="store_true", dest="as_json", help="write JSON for machines")
    return parser.parse_args(arguments)


def on_actors(config: RevisionConfig, choice: GeneratorChoice) -> Generator:
    """The run's model on the actors of this job's cluster.

    Raises:
        InvalidInputError: the cluster has no room for them.
    """
    import ray

    from acgs.cli.connection import connect, require_resources
    from acgs.learning.revision.config import ActorSettings
    from acgs.learning.revision.opening import HF
    from train_jobs.generator_actors import ActorGenerator

    actors = config.actors or ActorSettings()
    connect(ray)
    wanted = {"CPU": float(actors.count * actors.cpus), "GPU": actors.count * actors.gpus}
    available = ray.cluster_resources()  # type: ignore[no-untyped-call]
    require_resources(f"{actors.count} actors", wanted, available, field="actors")
    return ActorGenerator(choice.name.removeprefix(HF), actors)


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    from acgs.learning.finetune.config import load_settings
    from acgs.learning.revision.config import RevisionConfig

    options = parse_arguments(arguments)
    try:
        config = load_settings(options.config, RevisionConfig)
        if config.actors is None:
            raise InvalidInputError("the run file asks for no actors; use 'acgs data revise'", field="actors")
        run_revision(
            config, options.output, as_json=options.as_json, open_model=lambda choice: on_actors(config, choice)
        )
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 2 if isinstance(error, InvalidInputError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("acgs: interrupted; run it again to go on\n")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
