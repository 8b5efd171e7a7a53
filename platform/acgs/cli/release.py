"""`acgs release`: stage, hold against what is live, promote, roll back, and show what was live when and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgs.cli.output import JSON_OPTION, say, write_fields, write_json, write_table
from acgs.errors import InvalidInputError
from acgs.security.roles import Permission

if TYPE_CHECKING:
    from acgs.mlops import MLOpsManager
    from acgs.release.derivation import ToldDeployment
    from acgs.serving.deployments.documents import SignedDocument
    from acgs.serving.deployments.record import Deployment, RampPlan

NOT_SO = 1
FLIP_SECONDS = 30.0

app = typer.Typer(
    no_args_is_help=True,
    help="""Stage, hold against what is live, promote, roll back, and show what was live when and why.

    A version goes live only with two signed documents: staging (it was run, and did what it should) and contract (on
    the same held-out data it is no worse than what is live). It is loaded into the idle slot, takes 10, 50, 100 % of
    the callers, and goes back by itself when the traffic shows it to be worse. 'policy' shows how little may be asked.
    What changes anything needs a token (ACGS_TOKEN, ACGS_TOKEN_FILE) once 'acgs token issue' has made one, and
    'approve' always: its subject is on record.
    Exit codes: 0 done, 1 it did not go well, or does not hold, 2 the input or the installation cannot be used.""",
)

ReferenceArgument = Annotated[str, typer.Argument(help="name@1.2.3, or name for its highest release.")]
ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
AsJson = Annotated[bool, typer.Option(JSON_OPTION, help="Write one JSON document.")]


@app.command()
def stage(
    reference: ReferenceArgument,
    data: Annotated[Path, typer.Option(help="Held-out rows, JSON lines: id, input, label, and maybe slices, domain.")],
    *,
    limits: Annotated[Path | None, typer.Option(help="YAML with other limits than the published ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load a version, ask it for held-out rows, judge its answers, and sign what was found. Exit code 1 unless PASS.

    Health, performance with intervals, constitutional compliance of its answers, integration, response time under load.
    A check that could not run is INSUFFICIENT, and blocks the promotion. Each attempt about the same files is judged
    more strictly than the one before, and the release policy says how many there may be.

    Example: `acgs release stage triage@1.3.0 --data held_out.jsonl`
    """
    from acgs.release.staging.limits import read_limits

    manager = _manager_for(Permission.MODEL_RELEASE)
    facts = manager.registry.get(reference).facts
    signed = manager.stage_model(
        facts.name,
        facts.version,
        data=data,
        limits=read_limits(limits),
        told=lambda text: None if as_json else typer.echo(text, err=True),
    )
    _show_document(signed, as_json=as_json)


@app.command()
def contract(
    reference: ReferenceArgument,
    data: Annotated[Path, typer.Option(help="Held-out rows, as for 'stage'.")],
    *,
    margins: Annotated[Path | None, typer.Option(help="YAML with other margins than the defaults.")] = None,
    waive: Annotated[list[str] | None, typer.Option(help="GUARD=REASON for a guard that means nothing here.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of resampling and order.")] = 0,
    seconds: Annotated[
        float, typer.Option(min=1, help="Timing both takes at most so long; slow models need more.")
    ] = 300,
    as_json: AsJson = False,
) -> None:
    """Hold a version against the one that is live, on the same held-out rows. Exit code 1 unless PASS.

    Example: `acgs release contract triage@1.3.0 --data held_out.jsonl`
    """
    from acgs.registry.describing import pair
    from acgs.release.model_contract import read_margins

    manager = _manager_for(Permission.MODEL_RELEASE)
    facts = manager.registry.get(reference).facts
    waived = dict(map(pair("waive"), waive or []))
    signed = manager.check_contract(
        facts.name,
        facts.version,
        data=data,
        margins=read_margins(margins),
        waived=waived,
        seed=seed,
        timed_seconds=seconds,
    )
    _show_document(signed, as_json=as_json)


@app.command()
def promote(
    reference: ReferenceArgument,
    *,
    steps: Annotated[str, typer.Option(help="Percent of the callers, rising; '100' flips at once.")] = "10,50,100",
    observe: Annotated[float, typer.Option(min=0, help="Seconds that each step lasts at least.")] = 60.0,
    minimum_requests: Annotated[int, typer.Option(min=1, help="Answers before a step may be good.")] = 50,
    watch: Annotated[
        float, typer.Option(min=0, help="Seconds after the last step in which a breach goes back.")
    ] = 1800.0,
    give_up: Annotated[
        float, typer.Option(min=0, help="Seconds without enough requests after which it goes back.")
    ] = 3600.0,
    shadow: Annotated[bool, typer.Option(help="First give it copies of all requests.")] = False,
    end_watch: Annotated[bool, typer.Option(help="End the watch of the version before, and its way back.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record; needed where it was taken back before.")] = "",
    wait: Annotated[bool, typer.Option(help="Stay until it answers everything or went back.")] = True,
    as_json: AsJson = False,
) -> None:
    """Put a staged version in front of users, step by step.

    Ctrl-C stops this command only: the platform goes on with the promotion.

    Example: `acgs release promote triage@1.3.0 --steps 10,50,100 --observe 300`
    """
    manager = _manager_for(Permission.MODEL_RELEASE)
    plan = _plan(
        steps=steps,
        observe_seconds=observe,
        minimum_requests=minimum_requests,
        watch_seconds=watch,
        give_up_seconds=give_up,
        shadow=shadow,
    )
    version = manager.registry.get(reference).facts

    told_at: list[int] = []

    if wait and not as_json and plan.steps[0] < 100:
        say(
            f"each step lasts {plan.observe_seconds:g} s and until the candidate has answered {plan.minimum_requests} "
            f"requests; without them it goes back after {plan.give_up_seconds:g} s ('acgs release status' shows them)"
        )

    def told(deployment: Deployment) -> None:
        told_at.append(deployment.revision)
        if not as_json:
            say(_line(deployment))

    if not as_json and not manager.get_model_status(version.name)["replicas"]:
        typer.echo("no replica is alive yet; a platform that runs wakes them ('acgs cluster up')", err=True)
    done = manager.deploy_model(
        version.name, version.version, plan=plan, end_watch=end_watch, reason=reason, wait=wait, told=told
    )
    shown = told_at[-1:] == [done.revision]
    _finish(manager, done, wait=wait, as_json=as_json, good=("promoting", "deployed"), shown=shown)


@app.command()
def rollback(
    model: ModelArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    wait: Annotated[bool, typer.Option(help="Stay until every router answers with the version before.")] = True,
    as_json: AsJson = False,
) -> None:
    """Bring the version before back.

    It needs the database only: a head node that is down does not matter to replicas that are up.

    Example: `acgs release rollback triage --reason "wrong answers for children"`
    """
    manager = _manager()
    done = manager.rollback_model(model, reason=reason, wait=wait)
    _finish(manager, done, wait=wait, as_json=as_json, good=("rolled_back", "deployed", "failed"))


@app.command()
def approve(
    document: Annotated[str, typer.Argument(help="Digest of the document that does not say PASS.")],
    reason: Annotated[str, typer.Option(help="Why it may go on all the same, for the record.")],
) -> None:
    """Consent to a promotion in spite of a document that says FAIL or INSUFFICIENT. Two other people must."""
    from acgs.release.requirements import APPROVERS_NEEDED

    given = _manager().approve(document, reason=reason)
    say(
        f"recorded; document {document[:12]} has {given} of the {APPROVERS_NEEDED} approvals that it takes, by others "
        "than who promotes"
    )


@app.command()
def document(
    digest: Annotated[str, typer.Argument(help="Digest of a staging or contract document.")],
) -> None:
    """Write a signed document as JSON."""
    write_json(_manager().deployments.document(digest).model_dump(mode="json"))


@app.command()
def policy(
    model: Annotated[str | None, typer.Argument(help="A model; default: what holds for every model.")] = None,
    *,
    data: Annotated[Path | None, typer.Option(help="Held-out rows whose digest is told, for held_out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the release policy in force: the loosest limits, margins, waivers and ramps that may be asked for.

    Its owner writes it as YAML or JSON; 'every_model' holds for all, and 'models' gives what differs for one. It holds
    where an administrator adopted it ('acgs release adopt-policy'), or until then where ACGS_RELEASE_POLICY names it.
    --json without a model writes all of it, in the form of that file.

    Example: `acgs release policy triage --data held_out.jsonl`
    """
    from acgs.release.policy import PARTS
    from acgs.release.staging.held_out import distinct_rows, read_held_out, rows_digest

    in_force = _manager().release_policy()
    found = in_force.policy
    digest = None if data is None else rows_digest(distinct_rows(read_held_out(data)))
    rules = found.every_model if model is None else found.rules_for(model)
    shown = rules.model_dump(mode="json")
    if as_json:
        whole = found.model_dump(mode="json") if model is None else {"rules": shown, "digest": rules.digest()}
        write_json(whole | ({} if digest is None else {"data_digest": digest}))
        return
    fields = {name: value for name, value in shown.items() if not isinstance(value, dict)}
    fields["contract_held_out"] = rules.contract_held_out or "those of the version's staging"
    fields |= {f"{part}.{name}": value for part in PARTS for name, value in shown[part].items()}
    write_fields(
        f"release policy for {model or 'every model'}, {in_force.source}",
        {name: _listed(value) for name, value in fields.items()}
        | {"digest": rules.digest()}
        | ({"models with rules of their own": _listed(sorted(found.models))} if model is None else {})
        | ({} if digest is None else {"digest of the data": digest}),
    )


@app.command("adopt-policy")
def adopt_policy(
    file: Annotated[Path, typer.Argument(help="YAML or JSON that only its owner may write; {} is the built-in one.")],
    as_json: AsJson = False,
) -> None:
    """Put a release policy in force for whoever uses this installation's database, whatever their environment says.

    Documents that were made under other rules of a model no longer let it be promoted: stage it again. A promotion
    that is under way goes on under the rules that it began with; 'acgs release rollback' ends it.
    """
    from acgs.release.policy_file import parse_policy
    from acgs.security.roles import Permission

    manager = _manager_for(Permission.RELEASE_RULE)
    try:
        policy = parse_policy(file)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error.message}; the policy in force goes on holding", field="file") from None
    found = manager.adopt_release_policy(policy)
    if as_json:
        write_json({"policy": found.policy.model_dump(mode="json"), "source": found.source})
    else:
        say(f"the release policy of {file} is in force, {found.source}")


@app.command()
def status(model: ModelArgument, as_json: AsJson = False) -> None:
    """Show what is live, what each slot and replica holds, and how the last minute went."""
    found = _manager().get_model_status(model)
    if as_json:
        write_json(found)
        return
    route, deployment = found["route"] or {}, found["deployment"]
    write_fields(
        model,
        {
            "live": found["live"] or "nothing",
            "blue": route.get("blue") or "empty",
            "green": route.get("green") or "empty",
            "epoch": found["epoch"],
            "last deployment": "none" if deployment is None else _told(deployment),
        },
    )
    write_table(
        "replicas" if found["replicas"] else "no replica is alive; is the platform up? ('acgs cluster up')",
        ("replica", "epoch", "versions"),
        [
            (r["replica_id"], r["epoch"], ", ".join(f"{v['version']} {v['phase']}" for v in r["versions"]))
            for r in found["replicas"]
        ],
    )
    write_table(
        "last minute",
        ("version", "requests", "errors", "p50 ms", "p95 ms"),
        [
            (version, t["requests"], t["errors"], _number(t["latency_ms_p50"]), _number(t["latency_ms_p95"]))
            for version, t in found["traffic"].items()
        ],
    )


@app.command()
def history(
    model: ModelArgument,
    *,
    output: Annotated[Path | None, typer.Option(help="Write the whole, with proofs, to this JSON file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was live when, on whose approval, with which evidence.

    With --output or --json the answer carries signatures and audit proofs: `acgs release verify FILE` checks it
    anywhere, with public keys alone.
    """
    found = _manager().history(model)
    if output is not None:
        from acgs.files import write_atomic

        write_atomic(output, found.model_dump_json(indent=1).encode() + b"\n")
    if as_json:
        write_json(found.model_dump(mode="json"))
        return
    by_id = {deployment.deployment_id: deployment for deployment in found.deployments}
    rows = []
    for span in found.live:
        deployment = by_id.get(span.deployment_id or "")
        grounds = _grounds(deployment) if deployment else []
        if span.percent:
            on_trial = [d for d in found.deployments if d.version == span.candidate and d.began_at <= span.begins]
            grounds += [f"{span.candidate}: {ground}" for d in on_trial[-1:] for ground in _grounds(d)]
        ended = "now" if span.ends is None else span.ends[:19]
        shared = f" ({span.percent} % {span.candidate})" if span.percent else ""
        rows.append(
            (
                f"{span.begins[:19]} to {ended}",
                f"{span.version or 'nothing'}{shared}",
                span.requested_by,
                "; ".join(grounds),
            )
        )
    write_table(f"what was live of {model}", ("when", "version", "asked for by", "evidence and approvals"), rows)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What 'acgs release history --output' wrote.")],
    *,
    public_key: Annotated[Path, typer.Option(help="ed25519.pem of 'acgs registry public-keys'.")],
    log_key: Annotated[
        list[str], typer.Option(help="Verifier key of the audit log ('acgs audit show'); text or file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check a history anywhere: that it is whole and signed, that its documents and approvals are, that the audit log
    has its events, and that they tell the same as the rest of it.
    """
    from pydantic import ValidationError

    from acgs.audit.keys import PublicKey
    from acgs.audit.layout import DEFAULT_ORIGIN
    from acgs.audit.trust import trusted_keys
    from acgs.release.history import ReleaseHistory, verify_history

    try:
        read = ReleaseHistory.model_validate_json(file.read_bytes())
    except ValidationError:
        raise InvalidInputError(
            f"{file} is no release history; write one with 'acgs release history'", field="file"
        ) from None
    check = verify_history(read, PublicKey.from_pem(public_key.read_text()), trusted_keys(log_key, DEFAULT_ORIGIN))
    if as_json:
        write_json(check.model_dump(mode="json"))
    else:
        write_fields(
            f"history of {check.model}, made {check.made_at[:19]}: {'holds' if check.holds else 'DOES NOT HOLD'}",
            {"documents": check.documents, "events proven": check.proven, "not yet in the log": check.unproven}
            | {f"fault {n}": fault for n, fault in enumerate(check.faults, 1)},
        )
    if not check.holds:
        raise typer.Exit(NOT_SO)


def _show_document(signed: SignedDocument, *, as_json: bool) -> None:
    found = signed.document
    if as_json:
        write_json({"digest": found.digest(), **signed.model_dump(mode="json")})
    else:
        against = f" against {found.baseline}" if found.baseline else ""
        rows = _staging_rows(found.body) if found.kind == "staging" else _contract_rows(found.body)
        title = f"{found.kind} of {found.model} {found.version}{against}: {found.verdict}"
        write_table(title, ("check", "verdict", "n", "why"), rows)
        counted = (
            "nothing was measured, which spends no attempt"
            if found.attempt is None or found.confidence is None
            else f"attempt {found.attempt} about these files, each bound at {found.confidence * 100:.4g} %"
        )
        say(f"signed document {found.digest()}: {counted}")
    if found.verdict != "PASS":
        raise typer.Exit(NOT_SO)


def _staging_rows(body: Any) -> list[tuple[object, ...]]:
    return [(f"{r['validation_type']}: {r['measure']}", r["verdict"], r["n"], r["reason"]) for r in body["results"]]


def _contract_rows(body: Any) -> list[tuple[object, ...]]:
    from acgs.mlops.evidence import NOTHING_MEASURED
    from acgs.release.guards.guard import GuardResult
    from acgs.release.report import leaves

    if NOTHING_MEASURED in body:
        return [("both versions are loaded and asked", "INSUFFICIENT", 0, body[NOTHING_MEASURED])]
    result = GuardResult.model_validate(body["report"]["result"])
    judged = [(leaf.guard, leaf.verdict, leaf.n, leaf.reason) for leaf in leaves(result)]
    return judged + [(guard, "waived", "", why) for guard, why in body["report"]["waived"].items()]


def _manager() -> MLOpsManager:
    """The manager; versions are loaded in a process of their own, so that none takes the command with it."""
    from acgs.mlops import MLOpsManager
    from acgs.mlops.staging_process import MeasuringApart
    from acgs.settings import Settings

    settings = Settings()
    return MLOpsManager(settings, measuring=MeasuringApart(settings))


def _manager_for(permission: Permission) -> MLOpsManager:
    """The manager, for one who may do that: asked before anything else is looked at.

    Raises:
        ForbiddenError: who acts may not.
    """
    manager = _manager()
    manager.act(permission)
    return manager


def _plan(*, steps: str, **rest: Any) -> RampPlan:
    from pydantic import ValidationError

    from acgs.serving.deployments.record import RampPlan

    try:
        return RampPlan.model_validate({"steps": [int(step) for step in steps.split(",")], **rest})
    except (ValueError, ValidationError):
        raise InvalidInputError(
            "--steps takes rising percentages that end in 100, as in 10,50,100", field="steps"
        ) from None


def _finish(
    manager: MLOpsManager,
    done: Deployment,
    *,
    wait: bool,
    as_json: bool,
    good: tuple[str, ...],
    shown: bool = False,
) -> None:
    """`shown`: its last line stands there already."""
    known = manager.routers_follow(timeout=FLIP_SECONDS) if wait else None
    if as_json:
        write_json({**done.model_dump(mode="json"), "routers_follow": known})
    else:
        if not shown:
            say(_line(done))
        if known is False:
            say("no live router has said that it follows; is the platform up? ('acgs release status')")
    if done.status not in good:
        raise typer.Exit(NOT_SO)


def _line(deployment: Deployment) -> str:
    return f"{deployment.updated_at[:19]} {deployment.model} {deployment.version}: {_told(deployment.model_dump())}"


def _grounds(deployment: ToldDeployment) -> list[str]:
    """What a deployment rests on: documents, consent, and why it was asked for or ended as it did."""
    evidence = [f"{link.kind} {link.verdict} {link.digest[:12]}" for link in deployment.evidence]
    consent = [f"{given.actor}: {given.reason}" for given in deployment.approvals]
    return [*evidence, *consent, *([f"({deployment.reason})"] if deployment.reason else [])]


def _told(deployment: dict[str, Any]) -> str:
    percent = deployment["plan"]["steps"][deployment["step"]] if deployment["stage"] == "ramping" else None
    share = f", {percent} % of the callers" if percent else ""
    reason = f" ({deployment['reason']})" if deployment["reason"] else ""
    return f"{deployment['status'].replace('_', ' ')}, {deployment['stage']}{share}{reason}"


def _listed(value: Any) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name} {least:g}" for name, least in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "any" if value is None else value


def _number(value: float | None) -> str:
    return "no data" if value is None else f"{value:.1f}"
