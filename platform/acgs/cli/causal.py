"""`acgs causal`: may an effect read off a log be believed, and how large is it?"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgs.cli.output import JSON_OPTION, say, write_fields, write_json, write_table
from acgs.errors import InvalidInputError

if TYPE_CHECKING:
    from acgs.causal.plan import AuditPlan
    from acgs.causal.report import AuditReport
    from acgs.causal.table import LoggedTable

REFUSED = 1

app = typer.Typer(
    no_args_is_help=True,
    help="""Effects from logs: which arm a row got, what came of it, and what was known before.

    A log was not made by chance: whatever steered the choice of arm may have steered the outcome too. `audit` accepts
    an effect only if the arms overlap, what cannot have been changed was not, and a planted effect is found again; it
    refuses with every reason. `effect` shows the estimate with its diagnostics, not audited.
    Exit codes: 0 accepted, 1 refused, 2 the input cannot be used.""",
)

Input = Annotated[Path, typer.Option("--input", "-i", help="The log: CSV with a header, or JSON lines (.jsonl).")]
Treatment = Annotated[str, typer.Option(help="Column with the arm that each row got.")]
Outcome = Annotated[str, typer.Option(help="Column with what came of it: a number.")]
Covariates = Annotated[
    list[str] | None,
    typer.Option(
        "--covariate",
        help="Column known before the arm was chosen, to adjust for. Repeat it, or give a pattern: 'x_*'.",
        show_default=False,
    ),
]
Strata = Annotated[
    list[str] | None,
    typer.Option(
        "--stratum",
        help="Column to compare within (numbers are cut into deciles). Repeat it. Default: fifths of the propensity.",
        show_default=False,
    ),
]
Propensity = Annotated[
    str | None,
    typer.Option(
        help="Column with the logged probability of the arm that was taken. Without it, it is estimated.",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="Value a policy, not an arm: column with its probability of the arm taken, or `uniform`.",
        show_default=False,
    ),
]
Treated = Annotated[
    str | None,
    typer.Option(help="The treatment's value that counts as treated. Default: the last of two.", show_default=False),
]
Cluster = Annotated[
    str | None, typer.Option(help="Column whose equal values are not independent (a user).", show_default=False)
]
Estimand = Annotated[str, typer.Option(help="Mean effect over all rows (ate) or over the treated (att).")]
Trim = Annotated[
    float | None,
    typer.Option(help="Drop rows with a propensity outside [TRIM, 1 - TRIM]; often 0.1.", show_default=False),
]
DropMissing = Annotated[bool, typer.Option("--drop-missing", help="Leave out rows with a gap in a used column.")]
Seed = Annotated[int, typer.Option(help="Seed of folds, permutations and planted effects.")]
AsJson = Annotated[bool, typer.Option(JSON_OPTION, help="One JSON document on standard output.")]


@app.command()
def audit(
    *,
    source: Input,
    treatment: Treatment = "treatment",
    outcome: Outcome = "outcome",
    covariate: Covariates = None,
    stratum: Strata = None,
    propensity: Propensity = None,
    target: Target = None,
    negative_control: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with an outcome that the arm cannot have changed, but a hidden cause would: the same figure "
            "of an earlier period. Repeat it.",
            show_default=False,
        ),
    ] = None,
    slices: Annotated[
        str | None, typer.Option("--slice", help="Column; each of its values is audited too.", show_default=False)
    ] = None,
    cluster: Cluster = None,
    treated: Treated = None,
    estimand: Estimand = "ate",
    assume_unconfounded: Annotated[
        bool,
        typer.Option(
            "--assume-unconfounded",
            help="Vouch that every common cause is adjusted for. Needed where neither propensities were logged nor a "
            "negative control is named; the report says that it is untested.",
        ),
    ] = False,
    margin: Annotated[
        float, typer.Option(help="Largest effect on a negative control taken for none, in standard deviations.")
    ] = 0.25,
    trim: Trim = None,
    plants: Annotated[int, typer.Option(help="Planted effects to look for: 10 or more.")] = 20,
    drop_missing: DropMissing = False,
    seed: Seed = 0,
    rows_to: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a row for each slice to this file as well.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accept or refuse the effect of one arm against another, or of a policy, with every reason.

    An experiment, with last year's earnings as the control that it cannot have changed:

    acgs causal audit -i jobs.csv --treatment trained --outcome earned --covariate age --covariate 'school_*'
    --negative-control earned_before

    A bandit's log, and what choosing evenly would have brought:

    acgs causal audit -i clicks.csv --treatment item --outcome click --propensity probability --target uniform --json
    """
    roles = {
        "treatment": treatment,
        "outcome": outcome,
        "covariates": tuple(covariate or ()),
        "strata": tuple(stratum or ()),
        "propensity": propensity,
        "target": target,
        "negative_controls": tuple(negative_control or ()),
        "slice": slices,
        "cluster": cluster,
        "treated": treated,
    }
    plan = _plan(
        estimand=estimand,
        assume_unconfounded=assume_unconfounded,
        margin=margin,
        trim=trim,
        plants=plants,
        seed=seed,
    )
    table, dropped = _table(source, roles, drop_missing=drop_missing)
    from acgs.causal.audit import audit as judge
    from acgs.causal.audit import audit_by_slice

    reports = [judge(table, plan)] if slices is None else audit_by_slice(table, plan)
    accepted = all(report.accepted for report in reports)
    if rows_to is not None:
        _write_rows(rows_to, reports)
    if as_json:
        write_json(
            {
                "verdict": "ACCEPT" if accepted else "REFUSED",
                "input": source.name,
                "rows_with_gaps_dropped": dropped,
                "reports": [report.document() for report in reports],
            }
        )
    else:
        for report in reports:
            _show(report, f"{report.verdict.value}: {source.name}, {report.slice_name}", dropped)
    if not accepted:
        raise typer.Exit(REFUSED)


@app.command()
def effect(
    *,
    source: Input,
    treatment: Treatment = "treatment",
    outcome: Outcome = "outcome",
    covariate: Covariates = None,
    stratum: Strata = None,
    propensity: Propensity = None,
    target: Target = None,
    cluster: Cluster = None,
    treated: Treated = None,
    estimand: Estimand = "ate",
    trim: Trim = None,
    drop_missing: DropMissing = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Estimate an effect by several methods, with intervals and the diagnostics of overlap and balance.

    No control is looked at, so nothing is said about hidden causes: `acgs causal audit` does that. The exit code is 1
    where overlap or balance is too poor for any estimate.

    acgs causal effect -i smoking.csv --treatment quit --outcome gained --covariate age --covariate sex --drop-missing
    """
    roles = {
        "treatment": treatment,
        "outcome": outcome,
        "covariates": tuple(covariate or ()),
        "strata": tuple(stratum or ()),
        "propensity": propensity,
        "target": target,
        "cluster": cluster,
        "treated": treated,
    }
    plan = _plan(estimand=estimand, trim=trim, seed=seed)
    table, dropped = _table(source, roles, drop_missing=drop_missing)
    from acgs.causal.audit import measure

    report = measure(table, plan)
    if as_json:
        document = report.document()
        # A verdict on overlap alone is not to be taken for an audit's.
        supported = document.pop("verdict") == "ACCEPT"
        write_json({"audited": False, "supported": supported, "rows_with_gaps_dropped": dropped, **document})
    else:
        _show(report, f"Effect in {source.name}, not audited", dropped)
    if not report.accepted:
        raise typer.Exit(REFUSED)


def _plan(**values: Any) -> AuditPlan:
    from pydantic import ValidationError

    from acgs.causal.plan import AuditPlan

    try:
        return AuditPlan(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise InvalidInputError(f"--{name}: {first['msg']}", field=name) from error


def _table(source: Path, roles: dict[str, Any], *, drop_missing: bool) -> tuple[LoggedTable, int]:
    """The checked table, and how many rows were left out for their gaps."""
    from acgs.causal.reading import drop_gaps, first_gap, read_columns
    from acgs.causal.table import UNIFORM, Roles, tabulate

    parts = Roles(**roles)
    single = (parts.treatment, parts.outcome, parts.propensity, parts.target, parts.slice, parts.cluster)
    several = (*parts.covariates, *parts.strata, *parts.negative_controls)
    columns = read_columns(source, [name for name in (*single, *several) if name is not None and name != UNIFORM])
    dropped, gap = 0, first_gap(columns)
    if gap is not None:
        if not drop_missing:
            raise InvalidInputError(
                f"column {gap} has gaps; fill them, or leave those rows out with --drop-missing", field=gap
            )
        columns, dropped = drop_gaps(columns)
    return tabulate(columns, parts), dropped


def _write_rows(path: Path, reports: list[AuditReport]) -> None:
    from acgs.causal.report import counterfactual_rows
    from acgs.files import write_atomic

    rows = counterfactual_rows(reports)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def _show(report: AuditReport, title: str, dropped: int) -> None:
    fields: dict[str, object] = {
        "rows": f"{report.n}" + (f" ({dropped} more had gaps)" if dropped else ""),
        "arms": ", ".join(f"{name}: {rows}" for name, rows in report.arms.items()),
        "estimand": report.estimand,
    }
    if report.effect is not None:
        answer = report.effect
        fields["effect"] = (
            f"{answer.value:.6g}, {answer.confidence:.0%} interval {answer.lower:.6g} to {answer.upper:.6g} "
            f"({answer.method})"
        )
    if report.randomisation is not None:
        test = report.randomisation
        fields["no effect at all"] = f"p = {test.p_value:.4g} (permutation within {test.strata} strata)"
    if report.assumptions:
        fields["taken for granted"] = "; ".join(report.assumptions)
    fields |= {"seed": report.seed, "input": report.input_digest}
    write_fields(title, fields)
    if report.estimates:
        write_table(
            "Estimates" if report.accepted else "Estimates, not to be believed",
            ["method", "value", "lower", "upper"],
            [(item.method, f"{item.value:.6g}", f"{item.lower:.6g}", f"{item.upper:.6g}") for item in report.estimates],
        )
    write_table(
        "Checks", ["check", "verdict", "why"], [(item.name, item.verdict, item.reason) for item in report.checks]
    )
    if report.reasons:
        say(f"{len(report.reasons)} of {len(report.checks)} checks do not hold")
