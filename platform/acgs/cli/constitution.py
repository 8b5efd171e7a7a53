"""`acgs constitution`: show, lint, lock, compare and test a constitution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from acgs.cli.output import say, write_fields, write_json, write_table
from acgs.cli.text_guard import open_text_guard
from acgs.constitution.canonical import digest
from acgs.constitution.diff import Difference, compare
from acgs.constitution.document import Clause, Constitution
from acgs.constitution.fixtures import Outcome, read_fixtures, run_fixtures, uncovered_rules
from acgs.constitution.judging import Judge
from acgs.constitution.lint import Finding, Level, lint, lint_engines
from acgs.constitution.lock import LockedConstitution, read_lock, write_lock
from acgs.constitution.source import LOCK_NAME, load_locked, read_document, shipped_directory
from acgs.errors import ConstitutionMismatchError, InvalidInputError
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.policy.engine import RuleEngine

DOES_NOT_HOLD: Final = 1
ORACLE: Final = "clauses"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""The constitution: principles, rules, domains and thresholds in one folder.

    After an edit: `lint` finds what a schema cannot see, `test` runs the cases in fixtures.yaml, `diff` shows what
    changed, and `lock` puts it in force.""",
)

PathOption = Annotated[
    Path | None,
    typer.Option("--path", help="The constitution's folder. Default: ACGS_CONSTITUTION, else the shipped one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


def _directory(path: Path | None) -> Path:
    return path or Settings().constitution_path or shipped_directory()


def _unlocked(document: Constitution) -> LockedConstitution:
    """A draft, for engines that only need to know what they were compiled from."""
    return LockedConstitution(document=document, digest=digest(document), label="")


def _judge(engine: RuleEngine) -> Judge:
    from acgs.policy.engine import RuleInput

    return lambda scopes, document: {
        violation.rule: violation.severity for violation in engine.evaluate(RuleInput(scopes, **document))
    }


@app.command()
def show(path: PathOption = None, as_json: AsJson = False) -> None:
    """Show the constitution in force: name, digest, label, principles, domains and rules.

    Example: `acgs constitution show --json | jq .digest`
    """
    locked = load_locked(_directory(path))
    document = locked.document
    if as_json:
        write_json({"label": locked.label, "digest": locked.digest, **document.model_dump(mode="json")})
        return
    write_fields(
        f"{document.name} {document.version}",
        {"label": locked.label, "digest": locked.digest, "actions": ", ".join(document.actions) or "none"},
    )
    core = set(document.core_principle_ids)
    write_table(
        "Principles",
        ("id", "applies", "weight", "severity", "text"),
        (
            (item.id, "everywhere" if item.id in core else "in its domain", item.weight, item.severity, item.text)
            for item in document.principles
        ),
    )
    write_table(
        "Domains",
        ("name", "confidence", "violation", "cache (s)", "principles of its own"),
        (
            (
                name,
                domain.confidence_threshold,
                domain.violation_threshold,
                domain.cache_ttl,
                ", ".join(domain.principles),
            )
            for name, domain in document.domains.items()
        ),
    )
    write_table(
        "Rules",
        ("id", "scope", "severity", "breached when", "message"),
        (
            (
                rule.id,
                rule.scope,
                rule.severity,
                " and ".join(_clause_text(clause) for clause in rule.when),
                rule.message,
            )
            for rule in document.rules
        ),
    )


def _clause_text(clause: Clause) -> str:
    return f"{clause.field} {clause.op}" + ("" if clause.value is None else f" {clause.value}")


@app.command("lint")
def lint_command(path: PathOption = None, as_json: AsJson = False) -> None:
    """Find rules that can never be breached, duplicates, unused parts, and engines that disagree.

    Needs no lock, so that a draft can be linted. Exit code 1 if there is an error; warnings alone pass.
    """
    document = read_document(_directory(path))
    findings = lint(document)
    if not any(finding.level is Level.ERROR for finding in findings):
        findings += _engine_findings(document)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    if as_json:
        items = [{"level": item.level, "where": item.where, "message": item.message} for item in findings]
        write_json({"digest": digest(document), "passes": errors == 0, "findings": items})
    else:
        if findings:
            write_table("Findings", ("level", "where", "what"), ((f.level, f.where, f.message) for f in findings))
        say(f"{document.name} {document.version}: {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(DOES_NOT_HOLD)


def _engine_findings(document: Constitution) -> list[Finding]:
    """Compile the rules for every engine; what compiles is compared on boundary cases."""
    from acgs.policy.judge import ENGINES

    findings: list[Finding] = []
    judges: dict[str, Judge] = {}
    for name, engine in ENGINES.items():
        try:
            judges[name] = _judge(engine(_unlocked(document)))
        except InvalidInputError as error:
            # Cedar cannot hold hand-written Rego; that is a choice, not a fault.
            level = Level.WARNING if document.rego and name == "cedar" else Level.ERROR
            findings.append(Finding(level, f"engines.{name}", error.message))
    return findings + lint_engines(document, judges, ORACLE)


@app.command()
def lock(
    path: PathOption = None,
    label: Annotated[
        str | None,
        typer.Option(help="16 hex digits that requests will carry. Default: the first 16 of the digest."),
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Replace a lock that names another document.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put the constitution in its present wording in force: write constitution.lock.

    An existing lock is changed with --accept only: every guard bundle trained under the old wording stops loading.
    """
    directory = _directory(path)
    document = read_document(directory)
    target = directory / LOCK_NAME
    if target.exists() and not accept:
        held = read_lock(target)
        if held.digest != digest(document) or label not in (None, held.label):
            raise ConstitutionMismatchError(
                f"{target.name} names another document or label; review the change with 'acgs constitution diff' and "
                "repeat with --accept",
                field="lock",
            )
        written = held
    else:
        written = write_lock(document, target, label=label)
    if as_json:
        write_json(written.model_dump())
    else:
        write_fields(f"{written.name} {written.version}", {"label": written.label, "digest": written.digest})


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A constitution's folder.")],
    after: Annotated[
        Path | None, typer.Argument(help="Another folder. Left out: is the first still what its lock says?")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two constitutions, field by field, and whether behaviour changes with it.

    Examples: `acgs constitution diff ./in-force ./proposal`, `acgs constitution diff ./in-force`
    """
    document = read_document(before)
    if after is not None:
        _show_difference(compare(document, read_document(after)), as_json=as_json)
        return
    held, actual = read_lock(before / LOCK_NAME), digest(document)
    changed = held.digest != actual
    if as_json:
        write_json({"before": held.digest, "after": actual, "behaviour_changes": changed, "changes": None})
    else:
        # A lock keeps a digest, not the text, so fields can only be compared with another folder.
        say("not what was locked: compare it with the folder it came from" if changed else "exactly what was locked")
    if changed:
        raise typer.Exit(DOES_NOT_HOLD)


def _show_difference(difference: Difference, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "before": difference.digest_before,
                "after": difference.digest_after,
                "behaviour_changes": difference.behaviour_changes,
                "changes": [
                    {"path": item.path, "kind": item.kind, "before": item.before, "after": item.after}
                    for item in difference.changes
                ],
            }
        )
        return
    if difference.changes:
        rows = ((item.path, item.kind, _brief(item.before), _brief(item.after)) for item in difference.changes)
        write_table("Changes", ("field", "kind", "before", "after"), rows)
    if difference.behaviour_changes:
        say("behaviour changes: lint, test and lock it, then train a guard bundle under it")
    else:
        say("behaviour does not change: both have the same digest")


def _brief(value: Any) -> str:
    return "" if value is None else str(value)


@app.command("test")
def test_command(
    path: PathOption = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="Only this engine (rego, cedar, clauses); repeat it. Default: all.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="A guard bundle for the texts. Default: ACGS_GUARD_BUNDLE, else the shipped one if it fits."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the cases in fixtures.yaml through the rule engines, and the texts among them through the guard.

    Exit code 1 if a verdict is not the expected one. Texts are left out, and counted, where no guard is at hand.
    """
    directory = _directory(path)
    document = read_document(directory)
    fixtures = read_fixtures(directory, document)
    judges = {name: _judge(opened) for name, opened in _open_engines(document, engine).items()}
    decide = open_text_guard(directory, bundle or Settings().bundle_path)
    outcomes = list(run_fixtures(fixtures, judges, decide))
    texts_left_out = 0 if decide else sum(fixture.query is not None for fixture in fixtures)
    _show_outcomes(outcomes, texts_left_out, uncovered_rules(fixtures, document), as_json=as_json)
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(DOES_NOT_HOLD)


def _open_engines(document: Constitution, names: list[str] | None) -> dict[str, RuleEngine]:
    from acgs.policy.judge import ENGINES, open_engine

    locked = _unlocked(document)
    # Hand-written modules run in Rego alone.
    default = ["rego"] if document.rego else list(ENGINES)
    return {name: open_engine(name, locked) for name in names or default}


def _show_outcomes(outcomes: list[Outcome], texts_left_out: int, uncovered: list[str], *, as_json: bool) -> None:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        items = [
            {"fixture": o.fixture, "judge": o.judge, "passed": o.passed, "expected": o.expected, "actual": o.actual}
            for o in outcomes
        ]
        write_json(
            {
                "passes": not failed,
                "outcomes": items,
                "texts_left_out": texts_left_out,
                "rules_without_a_case": uncovered,
            }
        )
        return
    if failed:
        rows = ((outcome.fixture, outcome.judge, outcome.expected, outcome.actual) for outcome in failed)
        write_table("Not as expected", ("case", "judge", "expected", "actual"), rows)
    judges = list(dict.fromkeys(outcome.judge for outcome in outcomes))
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} verdicts as expected, by {', '.join(judges)}")
    if texts_left_out:
        say(f"{texts_left_out} texts were not judged: no guard bundle loads beside this constitution")
    if uncovered:
        say(f"no case breaches {', '.join(uncovered)}")
