"""`acgs privacy`: who spent what of a data set's privacy, and what a run would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgs.cli.output import say, write_error, write_fields, write_json, write_table
from acgs.errors import IntegrityError, InvalidInputError
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.privacy.ledger import Account, RunAccount
    from acgs.privacy.plan import PrivacyPlan
    from acgs.privacy.sql_ledger import SqlLedger

VERIFICATION_FAILED = 1

app = typer.Typer(
    no_args_is_help=True,
    help="""What differential privacy costs, and who has spent it.

    Training with privacy draws a random batch of expected size B from N records, clips each record's gradient and adds
    noise. Each such step spends a little of the data's budget (epsilon, at a fixed small delta), and steps add up over
    all runs on the same data. The ledger records every step before it runs; `estimate` works out a run beforehand.
    Exit codes: 0 done, 1 the ledger was altered, 2 the input or the ledger cannot be used.""",
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="ACGS_DATABASE_URL",
        help="The database with the ledger. Default: the SQLite file in ACGS_STATE_DIR.",
        show_default=False,
    ),
]


@app.command()
def ledger(
    *,
    dataset: Annotated[
        str | None,
        typer.Option(help="Only this account: a data set's id, or population:NAME.", show_default=False),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only recompute the chain of all entries.")] = False,
    head: Annotated[
        str | None,
        typer.Option(
            help="With --verify: a SEQUENCE:DIGEST noted earlier, which the ledger must still contain.",
            show_default=False,
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what each run has spent of each data set, or verify that the ledger was not altered.

    A step counts when it is reserved, before it runs; one whose process died counts for ever. `promised` is what open
    runs may still spend. --verify shows the head: note it elsewhere, and --head finds even a ledger cut short.
    """
    if head is not None and not verify:
        raise InvalidInputError("--head goes with --verify", field="head")
    opened = _open_ledger(database_url)
    if verify:
        _verify(opened, head, as_json=as_json)
    else:
        _show_accounts(opened, dataset, as_json=as_json)


@app.command()
def estimate(
    *,
    population: Annotated[int, typer.Option("--population", "-n", help="Records (or users) in the data: N.")],
    batch: Annotated[int, typer.Option("--batch", "-b", help="Expected records in a batch, over all workers: B.")],
    steps: Annotated[int | None, typer.Option(help="Noisy steps.", show_default=False)] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Instead of steps: passes over the data, N/B steps each.", show_default=False)
    ] = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="What does this noise cost? Relative to the clipping norm.", show_default=False)
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Which noise keeps a run at 95 % of this epsilon? Default: 8.", show_default=False),
    ] = None,
    delta: Annotated[float, typer.Option(help="Chance that the guarantee fails; below 1/N.")] = 1e-5,
    accountant: Annotated[
        str, typer.Option(help="Which bound the cap applies to: rdp, prv or the larger of both.")
    ] = "larger",
    as_json: AsJson = False,
) -> None:
    """Work out a run before it starts: its epsilon for a noise, or the noise for an epsilon.

    Shows epsilon by both accountants and after how many steps 90, 95 and 100 % of the budget are spent, on data that
    nobody has used before. Reads no data and no ledger.

    acgs privacy estimate -n 50000 -b 1024 --epochs 3 --epsilon 8

    acgs privacy estimate -n 60000 -b 256 --epochs 60 --noise-multiplier 1.1
    """
    from acgs.privacy.accountants import epsilons
    from acgs.privacy.budget import violations
    from acgs.privacy.plan import step_limits

    plan = _plan(
        {
            "population": population,
            "expected_batch": batch,
            "steps": _steps(steps, epochs, population, batch),
            "delta": delta,
            "accountant": accountant,
        }
        | ({} if epsilon is None else {"target_epsilon": epsilon}),
        noise_multiplier,
    )
    both = epsilons(plan.history(), plan.delta)
    limits = step_limits(plan)
    fields: dict[str, Any] = {
        "population": plan.population,
        "expected_batch": plan.expected_batch,
        "sample_rate": plan.sample_rate,
        "steps": plan.steps,
        "noise_multiplier": plan.noise_multiplier,
        "delta": plan.delta,
        "epsilon": {"rdp": both.rdp, "prv": both.prv},
        "accountant": plan.accountant,
        "target_epsilon": plan.target_epsilon,
        "steps_to": {"90%": limits.warning, "95%": limits.critical, "100%": limits.exhausted},
        "violations": list(violations(plan, plan.composed(()))),
    }
    if as_json:
        write_json(fields)
    else:
        write_fields("Privacy of a run", _readable(fields))


@app.command()
def close(
    run_id: Annotated[str, typer.Argument(help="The run, as `acgs privacy ledger` names it.")],
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """End a run that will not go on, and release the steps it never reserved.

    What it reserved stays spent. A process that still trains for this run is stopped at its next reservation.
    """
    run = _open_ledger(database_url).close_run(run_id)
    fields: dict[str, Any] = {"run_id": run.run_id, "closed": run.closed, "steps_spent": run.steps_spent}
    if as_json:
        write_json(fields)
    else:
        write_fields("Run closed", _readable(fields))


def _open_ledger(database_url: str | None) -> SqlLedger:
    from acgs.privacy.sql_ledger import SqlLedger
    from acgs.storage.engine import database_exists, default_url, open_engine, place
    from acgs.storage.migrate import upgrade

    url = database_url or default_url(Settings().state_dir)
    if not database_exists(url):
        raise InvalidInputError(
            f"there is no ledger at {place(url)}; the first private training makes it, or set ACGS_STATE_DIR",
            field="database_url",
        )
    engine = open_engine(url, create=False)
    upgrade(engine)
    return SqlLedger(engine)


def _verify(opened: SqlLedger, head: str | None, *, as_json: bool) -> None:
    from acgs.privacy.ledger import Head

    try:
        found = opened.verify(None if head is None else Head.parse(head))
    except IntegrityError as error:
        if as_json:
            write_json({"holds": False, "faults": [error.message]})
        else:
            write_error(error.code, error.message, as_json=False)
        raise typer.Exit(VERIFICATION_FAILED) from error
    fields: dict[str, Any] = {"holds": True, "entries": found.sequence, "head": str(found)}
    if as_json:
        write_json(fields)
    else:
        write_fields("The ledger holds", fields)


def _show_accounts(opened: SqlLedger, dataset: str | None, *, as_json: bool) -> None:
    if dataset is None:
        accounts = opened.accounts()
    else:
        found = opened.account(dataset)
        accounts = () if found is None else (found,)
    if as_json:
        write_json({"accounts": [_account_fields(account) for account in accounts]})
        return
    if not accounts:
        say("no run was opened on this data set" if dataset else "no run was opened yet")
    for account in accounts:
        fields = _account_fields(account)
        write_table(
            f"{account.name}: epsilon {_both(fields['spent'])} spent, {_both(fields['promised'])} promised, "
            f"cap {account.target_epsilon:g} at delta {account.delta:g} by {account.unit}",
            ["run", "opened", "state", "epsilon", "noise", "steps"],
            [
                (
                    run["run_id"],
                    f"{run['opened_at'][:10]} by {run['owner']}",
                    run["state"],
                    _both(run["epsilon"]),
                    f"{run['noise_multiplier']:.3g}",
                    f"{run['steps_spent']} of {run['steps_planned']}"
                    + (f", {run['steps_unsettled']} of them unsettled" if run["steps_unsettled"] else ""),
                )
                for run in fields["runs"]
            ],
        )


def _account_fields(account: Account) -> dict[str, Any]:
    from acgs.privacy.statement import figures

    return {
        "account": account.name,
        "target_epsilon": account.target_epsilon,
        "delta": account.delta,
        "unit": account.unit,
        "accountant": account.accountant,
        "spent": figures(account.spent(), account.delta).model_dump(),
        "promised": figures(account.committed(), account.delta).model_dump(),
        "runs": [_run_fields(run) for run in account.runs],
    }


def _run_fields(run: RunAccount) -> dict[str, Any]:
    from acgs.privacy.statement import run_spending

    return {
        "run_id": run.run_id,
        "owner": run.owner,
        "opened_at": run.opened_at,
        "state": "closed" if run.closed else "open",
        "attempts": run.attempts,
        "noise_multiplier": run.plan.noise_multiplier,
        "sample_rate": run.plan.sample_rate,
        "steps_planned": run.plan.steps,
        "steps_spent": run.steps_spent,
        "steps_unsettled": run.unsettled,
        "epsilon": run_spending(run).model_dump(),
    }


def _steps(steps: int | None, epochs: int | None, population: int, batch: int) -> int:
    if (steps is None) == (epochs is None):
        raise InvalidInputError("give either --steps or --epochs", field="steps")
    if steps is not None:
        return steps
    if batch < 1:
        raise InvalidInputError("--batch must be at least 1", field="batch")
    # Rounded up in whole numbers: the steps that let N/B batches pass `epochs` times.
    return -(-(epochs or 0) * population // batch)


def _plan(values: dict[str, Any], noise_multiplier: float | None) -> PrivacyPlan:
    from acgs.privacy.plan import PrivacyPlan, plan_privacy

    if noise_multiplier is None:
        return plan_privacy(**values)
    return PrivacyPlan(**values, noise_multiplier=noise_multiplier)


def _readable(fields: dict[str, Any]) -> dict[str, object]:
    return {
        name.replace("_", " "): ", ".join(f"{key} {_number(item)}" for key, item in value.items())
        if isinstance(value, dict)
        else (", ".join(value) or "none")
        if isinstance(value, list)
        else _number(value)
        for name, value in fields.items()
    }


def _both(epsilon: dict[str, float | None]) -> str:
    return ", ".join(f"{_number(value)} ({name.upper()})" for name, value in epsilon.items())


def _number(value: object) -> str:
    if value is None:
        return "not available"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
