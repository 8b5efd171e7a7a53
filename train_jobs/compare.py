"""Train variants of a run and measure them side by side: `python -m train_jobs.compare --config compare.yaml ...`.

Runs as it stands or through `ray job submit`, on one Ray cluster for all variants. Each variant is a run of
`train_jobs.constitutional` in a folder of its own below the output. Started again with the same output, finished
variants are kept and an interrupted one goes on from its last checkpoint.
Exit codes: 0 compared, 1 a variant failed on the way, 2 refused before anything was computed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from acgs.cli.output import JSON_OPTION, say, write_error, write_fields, write_json, write_table
from acgs.errors import AcgsError, InvalidInputError
from acgs.files import write_atomic
from train_jobs import constitutional
from train_jobs.constitutional import Prepared, TrainingFailedError

RUN_FILE = "run.yaml"
COMPARISON_FILE = "compare.yaml"


@dataclass(frozen=True, slots=True)
class Prospect:
    """A comparison that may start. `spending` is None without private variants."""

    comparison: Any
    digest: str
    variants: list[Any]
    runs: dict[str, Prepared]
    spending: Any
    coverage: str


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the comparison file (YAML)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the variants and the comparison")
    parser.add_argument("--check", action="store_true", help="say what would run and be spent, and stop")
    parser.add_argument(JSON_OPTION, dest="as_json", action="store_true", help="one JSON document on standard output")
    return parser.parse_args(arguments)


def look(config_path: Path, output: Path) -> Prospect:
    """Look at everything that can be refused: the file, the data, every variant, the budget. Nothing is promised.

    Raises:
        AcgsError: naming what is in the way.
    """
    from acgs.learning.finetune.comparison import coverage, derive_variants, load_comparison
    from acgs.learning.finetune.evaluation import read_sets

    comparison = load_comparison(config_path)
    variants = derive_variants(comparison, str(config_path))
    read_sets(variants[0].config)
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for variant in variants:
            path = Path(folder) / f"{variant.name}.yaml"
            path.write_bytes(as_yaml(variant.config))
            runs[variant.name] = constitutional.prepare(path, output / variant.name, only_look=True)
    _refuse_known_answers(comparison, variants)
    private = {variant.name: runs[variant.name] for variant in variants if variant.epsilon is not None}
    return Prospect(
        comparison=comparison,
        digest=hashlib.sha256(comparison.model_dump_json().encode()).hexdigest(),
        variants=variants,
        runs=runs,
        spending=_spending(comparison, variants, private) if private else None,
        coverage=coverage(list(private), _exposed(runs, private)),
    )


def as_yaml(settings: Any) -> bytes:
    """Settings as the file that they would be read from; its paths are absolute."""
    return yaml.safe_dump(settings.model_dump(mode="json", exclude_unset=True), sort_keys=False).encode()


def _refuse_known_answers(comparison: Any, variants: list[Any]) -> None:
    """A variant must not train on what all are measured on, unless the common data holds it twice for all."""
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.finetune.comparison import leaked_prompts

    held_out = variants[0].config.evaluation.held_out
    common = comparison.run["phases"][-1]["data"]
    shared = leaked_prompts(Dataset(Path(common)).records("train"), Dataset(held_out).records("validation"))
    for data in dict.fromkeys(variant.config.phases[-1].data for variant in variants):
        leaked = leaked_prompts(Dataset(data).records("train"), Dataset(held_out).records("validation"))
        if leaked > shared:
            raise InvalidInputError(
                f"the training split of {data.name} holds {leaked} of the held-out prompts of {held_out.name}, where "
                f"the common run's data holds {shared}; split before revising, so that both have the same splits",
                field="data",
            )


def _spending(comparison: Any, variants: list[Any], private: dict[str, Prepared]) -> Any:
    from acgs.learning.finetune.comparison_budget import Spending, check_budget
    from acgs.privacy.sql_ledger import open_ledger

    first = next(iter(private.values()))
    ledger = open_ledger(first.settings, create=False)
    found = [ledger.account(origin) for origin in first.datasets[-1].manifest.origins]
    accounts = [account for account in found if account is not None]
    own = frozenset(prepared.run_id for prepared in private.values())
    promised = {run.run_id for account in accounts for run in account.runs}
    plans = {name: prepared.plan for name, prepared in private.items()}
    if own <= promised:
        # Resumed: the ledger granted all of it before, and nobody can have been promised the same since.
        account = accounts[0]
        plan = next(iter(plans.values()))
        return Spending(plan.composed(account.committed(), 0), 0.0, account.target_epsilon)
    epsilons = {variant.name: variant.epsilon for variant in variants if variant.epsilon is not None}
    return check_budget(plans, epsilons, accounts, own, comparison.budget)


def _exposed(runs: dict[str, Prepared], private: dict[str, Prepared]) -> list[str]:
    """Variants without privacy that read what the private ones protect."""
    protected = {origin for prepared in private.values() for origin in prepared.datasets[-1].manifest.origins}
    return [
        name
        for name, prepared in runs.items()
        if name not in private
        and any(protected.intersection(dataset.manifest.origins) for dataset in prepared.datasets)
    ]


def open_runs(prospect: Prospect, output: Path) -> None:
    """Write comparison and run files, and have the ledger promise all budgets before the first is spent.

    Raises:
        AcgsError: somebody else was promised it meanwhile.
    """
    write_atomic(output / COMPARISON_FILE, as_yaml(prospect.comparison))
    for variant in prospect.variants:
        path = output / variant.name / RUN_FILE
        write_atomic(path, as_yaml(variant.config))
        constitutional.prepare(path, output / variant.name)


def conclude(prospect: Prospect, output: Path) -> Any:
    """Put the finished variants side by side, and write it down."""
    from acgs.learning.finetune.comparison_report import collect, write_result
    from acgs.learning.finetune.report import REPORT_JSON

    reports = {
        variant.name: orjson.loads((output / variant.name / REPORT_JSON).read_bytes()) for variant in prospect.variants
    }
    result = collect(
        reports, comparison_digest=prospect.digest, coverage=prospect.coverage, name=prospect.comparison.name
    )
    write_result(output, result)
    return result


def _plan_of(prospect: Prospect) -> dict[str, Any]:
    spending = prospect.spending
    return {
        "name": prospect.comparison.name,
        "comparison_digest": prospect.digest,
        "variants": [
            {
                "name": variant.name,
                "data": variant.config.phases[-1].data.name,
                "epsilon": variant.epsilon,
                "noise_multiplier": plan.noise_multiplier if plan else None,
                "steps": plan.steps if plan else None,
                "finished": (prepared.output / constitutional.REPORT).exists(),
            }
            for variant in prospect.variants
            for prepared in (prospect.runs[variant.name],)
            for plan in (prepared.plan,)
        ],
        "epsilon_together": spending.together if spending else None,
        "budget": spending.budget if spending else None,
        "coverage": prospect.coverage,
    }


def _show_plan(prospect: Prospect) -> None:
    plan = _plan_of(prospect)
    columns = ("variant", "data", "epsilon", "noise multiplier", "private steps", "state")
    write_table(
        f"{plan['name']} can start",
        columns,
        [
            (
                item["name"],
                item["data"],
                "none" if item["epsilon"] is None else f"{item['epsilon']:g}",
                "-" if item["noise_multiplier"] is None else f"{item['noise_multiplier']:.3f}",
                "-" if item["steps"] is None else item["steps"],
                "finished" if item["finished"] else "to train",
            )
            for item in plan["variants"]
        ],
    )
    if plan["epsilon_together"] is not None:
        spent = {"all runs on the private data": f"{plan['epsilon_together']:.3f}", "budget": f"{plan['budget']:g}"}
        write_fields("Epsilon", dict(spent))
    say(plan["coverage"])


def _show_result(result: Any, output: Path) -> None:
    from acgs.learning.finetune.comparison_report import COMPARISON_HTML, principle_rows, rows

    columns = ["", *(column.name for column in result.columns)]
    write_table(f"{result.name}, 95 % intervals", columns, rows(result))
    breached = principle_rows(result, breached_only=True)
    if breached:
        write_table("Compliance by principle, where any was breached", columns, breached)
    say(result.coverage)
    say(str(output / COMPARISON_HTML))


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    options = parse_arguments(arguments)
    output = options.output.resolve()
    # Workers' lines would spoil the one JSON document.
    aside: AbstractContextManager[Any] = redirect_stdout(sys.stderr) if options.as_json else nullcontext()
    try:
        with aside:
            prospect = look(options.config, output)
            if not options.check:
                open_runs(prospect, output)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 2
    if options.check:
        if options.as_json:
            write_json(_plan_of(prospect))
        else:
            _show_plan(prospect)
        return 0
    aside = redirect_stdout(sys.stderr) if options.as_json else nullcontext()
    with aside:
        code, failed = _train(prospect, output)
    if code:
        message = f"the variant {failed} failed; mend what it says, and the same command goes on from there"
        write_error(TrainingFailedError.code, message, as_json=options.as_json)
        return code
    result = conclude(prospect, output)
    if options.as_json:
        write_json(result.model_dump(mode="json"))
    else:
        _show_result(result, output)
    return 0


def _train(prospect: Prospect, output: Path) -> tuple[int, str]:
    """Train the variants one after the other; the exit code and the name of the last that ran."""
    code, name = 0, ""
    for number, variant in enumerate(prospect.variants, start=1):
        name = variant.name
        say(f"variant {number} of {len(prospect.variants)}: {name}")
        code = constitutional.main(["--config", str(output / name / RUN_FILE), "--output", str(output / name)])
        if code:
            break
    return code, name


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
