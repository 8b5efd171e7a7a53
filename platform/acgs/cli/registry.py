"""`acgs registry`: name, store, sign, find, trace, check and collect model versions."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgs.cli import artifact_keys
from acgs.cli.output import JSON_OPTION, say, write_fields, write_json, write_table
from acgs.errors import InvalidInputError
from acgs.registry.catalogue import split_reference
from acgs.registry.semver import VersionPolicy
from acgs.security.callers import permitted_caller
from acgs.security.roles import Permission
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.mlops import MLOpsManager
    from acgs.registry.catalogue import Record
    from acgs.registry.git import Repository
    from acgs.registry.model_version import Description
    from acgs.registry.registry import Registry

CHECK_FAILED = 1
NOBODY = "dry run"
"""Whose name a look at what would be removed carries; it changes nothing."""

app = typer.Typer(
    no_args_is_help=True,
    help="""Name, store, sign, find, trace, check and collect model versions.

    A version is a folder (or file) under a name and a semantic version, with where it came from: constitution, commit,
    data, parent, metrics, privacy spent. It never changes. Its files are stored in sealed chunks, each once, and read
    back only if every byte is what was signed.
    What changes versions needs a token (ACGS_TOKEN, ACGS_TOKEN_FILE) once 'acgs token issue' has made one.
    Exit codes: 0 done, 1 what was checked does not hold, 2 the input or the registry cannot be used.""",
)

app.add_typer(artifact_keys.app)

ReferenceArgument = Annotated[str, typer.Argument(help="name@1.2.3, or name for its highest release.")]
AsJson = Annotated[bool, typer.Option(JSON_OPTION, help="Write one JSON document.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The model's name: lower-case letters, digits, . _ -")],
    source: Annotated[Path, typer.Argument(help="Folder or file of the model; never a pickle.")],
    *,
    version: Annotated[str | None, typer.Option(help="A semantic version. Default: the one after the highest.")] = None,
    policy: Annotated[VersionPolicy, typer.Option(help="Which part the next number raises.")] = VersionPolicy.MINOR,
    prerelease: Annotated[str | None, typer.Option(help="A word such as 'rc': 1.3.0-rc.1, then -rc.2.")] = None,
    kind: Annotated[str | None, typer.Option(help="Default: what model.json says, else 'files'.")] = None,
    parent: Annotated[str | None, typer.Option(help="The version of this model it was made from.")] = None,
    base: Annotated[str | None, typer.Option(help="name@version of the model it needs to work.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="NAME=SHA256 of a data set; repeat.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER; repeat.")] = None,
    privacy: Annotated[str | None, typer.Option(help="POPULATION=EPSILON,DELTA that training spent.")] = None,
    describe: Annotated[
        Path | None, typer.Option(help="JSON file with all of the above: kind, parent, base, data, metrics, ...")
    ] = None,
    git: Annotated[bool, typer.Option("--git/--no-git", help="Record the commit of the current folder.")] = True,
    allow_dirty: Annotated[bool, typer.Option(help="Even with changes that no commit holds.")] = False,
    tag: Annotated[bool, typer.Option(help="Write an annotated git tag NAME-vVERSION.")] = False,
    push: Annotated[str | None, typer.Option(help="Push that tag to this remote.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a version. Interrupted, it makes none; started again, it sends only what is missing.

    Example: `acgs registry create triage ./model --policy minor --metric accuracy=0.91 --data visits=<sha256>`
    """
    from acgs.cli.progress import Progress
    from acgs.mlops.describing import with_code
    from acgs.registry.artifacts.transfer import Progress as Moved
    from acgs.registry.git import Repository
    from acgs.registry.registry import Wanted

    if push and not tag:
        raise InvalidInputError("--push needs --tag: there is nothing else to push", field="push")
    manager = _manager()
    actor = manager.act(Permission.MODEL_CREATE)
    repository = Repository(Path.cwd()) if git else None
    options = {"kind": kind, "parent": parent, "base": base, "data": data, "metric": metric, "privacy": privacy}
    description = with_code(source, _described(source, describe, options), repository, allow_dirty=allow_dirty)
    if tag:
        _require_ready(repository)
    seen = 0
    with Progress("bytes stored", _size(source)) as bar:

        def moved(progress: Moved) -> None:
            nonlocal seen
            bar.advance(progress.done - seen)
            seen = progress.done

        record = manager.registry.create(
            name,
            source,
            description,
            actor=actor,
            constitution=manager.constitution,
            wanted=Wanted(version, policy, prerelease),
            progress=moved,
        )
    tagged = _tagged(repository, record, push) if tag and repository is not None else None
    if as_json:
        write_json({**_full(record), "git_tag": tagged})
    else:
        say(f"{record.facts.reference}: {record.facts.artifact_bytes:,} bytes, digest {record.facts.artifact_digest}")
        if tagged:
            say(f"tagged {tagged}" + (f" and pushed it to {push}" if push else ""))


@app.command("list")
def list_versions(
    name: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List versions, highest first."""
    lines = _open(Settings()).find(name, limit=limit)
    if as_json:
        write_json([line._asdict() for line in lines])
        return
    state = {True: "held", False: ""}
    write_table(
        "model versions" if lines else "no model versions yet; make one with 'acgs registry create'",
        ("version", "kind", "bytes", "made", "by", "state"),
        [
            (
                *(line.reference, line.kind, f"{line.artifact_bytes:,}", line.created_at[:19], line.created_by),
                "files removed" if line.removed_at else state[line.held],
            )
            for line in lines
        ],
    )


@app.command()
def show(reference: ReferenceArgument, as_json: AsJson = False) -> None:
    """Show all that is known of a version."""
    record = _open(Settings()).get(reference)
    if as_json:
        write_json(_full(record))
        return
    facts = record.facts.model_dump(mode="json")
    shown = {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in facts.items()}
    write_fields(record.facts.reference, {**shown, "facts_digest": record.facts.digest()})


@app.command()
def fetch(
    reference: ReferenceArgument,
    target: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    as_json: AsJson = False,
) -> None:
    """Bring a version's files, every byte checked against its signature."""
    place = _open(Settings()).fetch(reference, target)
    if as_json:
        write_json({"folder": str(place)})
    else:
        say(f"{reference} is in {place}")


@app.command()
def lineage(
    reference: ReferenceArgument,
    dot: Annotated[bool, typer.Option("--dot", help="Write Graphviz' language.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a version comes from, and what was made of it.

    Example: `acgs registry lineage triage --dot | dot -Tsvg > lineage.svg`
    """
    graph = _open(Settings()).lineage(reference)
    if as_json:
        write_json(graph.as_json())
    elif dot:
        sys.stdout.write(graph.as_dot())
    else:
        write_table(
            f"lineage of {graph.of}",
            ("from", "relation", "to"),
            [(edge.source, edge.relation, edge.target) for edge in graph.edges],
        )


@app.command()
def verify(
    reference: Annotated[str | None, typer.Argument(help="name@1.2.3 or name; without it: every version.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read every stored byte again and check it, and the signatures, against what was signed. Exit code 1 if not so."""
    registry = _open(Settings())
    wanted = [reference] if reference else [line.reference for line in registry.find()]
    checks = [registry.verify(found) for found in wanted]
    if as_json:
        write_json([{**asdict(check), "holds": check.holds} for check in checks])
    else:
        rows = [(c.reference, "holds" if c.holds else "DOES NOT HOLD", "; ".join(c.faults)) for c in checks]
        write_table("verified" if rows else "no model versions yet", ("version", "result", "faults"), rows)
    if not all(check.holds for check in checks):
        raise typer.Exit(CHECK_FAILED)


@app.command("public-keys")
def public_keys(
    folder: Annotated[Path, typer.Argument(help="Where ed25519.pem and ecdsa.pem are written.")],
) -> None:
    """Write the public keys with which anybody can check a fetched version.

    Example: `acgs registry fetch triage ./triage && acgs registry public-keys ./keys &&
    model_signing verify key ./triage --signature ./triage/model.sig --public_key ./keys/ecdsa.pem`
    """
    from acgs.files import write_atomic

    keys = _open(Settings()).public_keys
    write_atomic(folder / "ed25519.pem", keys.ed25519.pem().encode())
    write_atomic(folder / "ecdsa.pem", keys.ecdsa.pem.encode())
    say(f"ed25519.pem and ecdsa.pem are in {folder}")


@app.command()
def hold(
    reference: ReferenceArgument,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
) -> None:
    """Put a version under legal hold: its files stay whatever its age."""
    _manager().hold(*split_reference(reference), reason=reason)
    say(f"{reference} is held")


@app.command()
def unhold(reference: ReferenceArgument) -> None:
    """Lift a legal hold."""
    _manager().lift_hold(*split_reference(reference))
    say(f"{reference} is no longer held")


@app.command()
def gc(
    *,
    days: Annotated[int, typer.Option(min=0, help="Files of younger versions stay.")] = 90,
    keep_latest: Annotated[int, typer.Option(min=1, help="So many of the highest versions of each model stay.")] = 3,
    apply: Annotated[bool, typer.Option("--apply", help="Remove; without it only what would go is shown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the files of old versions that nobody needs; facts, signatures and numbers stay.

    What is deployed, or would come back in a rollback, or is under legal hold stays, and what those were made from.
    """
    from acgs.registry.collection import collect
    from acgs.registry.retention import RetentionPolicy
    from acgs.release.promotion import needed_versions

    manager = _manager()
    actor = manager.act(Permission.MODEL_COLLECT) if apply else NOBODY
    done = collect(
        manager.registry,
        RetentionPolicy(timedelta(days=days), keep_latest),
        needed_versions(manager.deployments, manager.serving),
        actor=actor,
        dry_run=not apply,
    )
    if as_json:
        choices = [{"version": c.version.reference, "stays": c.stays, "reason": c.reason} for c in done.choices]
        write_json({**asdict(replace(done, choices=())), "choices": choices})
        return
    rows = [(c.version.reference, "stays" if c.stays else "goes", c.reason) for c in done.choices]
    write_table("removed" if apply else "what would be removed (--apply does it)", ("version", "files", "why"), rows)
    say(
        f"{done.versions} versions, and {done.chunks} stored pieces ({done.stored_bytes:,} bytes) that no version needs"
    )


@app.command()
def ready(
    reference: Annotated[str | None, typer.Argument(help="A version that is to be tagged.")] = None,
    remote: Annotated[str | None, typer.Option(help="Whether this remote answers, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether versions can be tagged from the current folder, and what is missing. Exit code 1 if something is."""
    from acgs.registry.git import Repository

    facts = _open(Settings()).get(reference).facts if reference else None
    found = Repository(Path.cwd()).readiness(facts, remote=remote)
    if as_json:
        write_json([asdict(finding) for finding in found])
    else:
        rows = [(f.condition, "yes" if f.holds else "NO", "" if f.holds else f.advice) for f in found]
        write_table("ready for tags", ("needed", "there", "advice"), rows)
    if not all(finding.holds for finding in found):
        raise typer.Exit(CHECK_FAILED)


@app.command()
def tag(
    reference: ReferenceArgument,
    push: Annotated[str | None, typer.Option(help="Push the tag to this remote.")] = None,
) -> None:
    """Write the annotated git tag NAME-vVERSION on the commit that made a version; again does nothing.

    Example: `acgs registry tag triage@1.2.0 --push origin`
    """
    from acgs.registry.git import Repository

    settings = Settings()
    permitted_caller(settings, Permission.MODEL_CREATE)
    name = _tagged(Repository(Path.cwd()), _open(settings).get(reference), push)
    say(f"tagged {name}" + (f" and pushed it to {push}" if push else ""))


@app.command()
def doctor(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    tags: Annotated[bool, typer.Option("--tags", help="Look for missing git tags in this repository, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find what a crash, a disk or a hand has left behind, and mend it. Exit code 1 while something is wrong."""
    from acgs.registry.doctor import Ailment, examine
    from acgs.registry.git import Repository
    from acgs.release.policy_file import PolicyUnusableError

    settings = Settings()
    if repair:
        permitted_caller(settings, Permission.MODEL_COLLECT)
    manager = _manager()
    repository = Repository(Path.cwd()) if tags else None

    def look() -> list[Ailment]:
        ailments = examine(manager.registry, repository=repository)
        try:
            manager.release_policy()
        except PolicyUnusableError as error:
            ailments.append(Ailment(error.message, "adopt a release policy, or mend the file of ACGS_RELEASE_POLICY"))
        return ailments

    found = look()
    if repair:
        for ailment in found:
            if ailment.mend is not None:
                ailment.mend()
        mended, found = found, look()
    else:
        mended = []
    if as_json:
        write_json({"found": [_told(item) for item in found], "before_repair": [_told(item) for item in mended]})
    else:
        title = "what is wrong" if found else "nothing is wrong (no stored byte was read; 'verify' does)"
        rows = [(item.what, item.advice, "--repair" if item.mendable else "by hand") for item in found]
        write_table(title, ("what", "advice", "how"), rows)
    if found:
        raise typer.Exit(CHECK_FAILED)


def _told(ailment: Any) -> dict[str, Any]:
    return {"what": ailment.what, "advice": ailment.advice, "mendable": ailment.mendable}


def _manager() -> MLOpsManager:
    from acgs.mlops import MLOpsManager

    return MLOpsManager()


def _open(settings: Settings) -> Registry:
    from acgs.registry.opening import open_registry

    return open_registry(settings)


def _full(record: Record) -> dict[str, Any]:
    facts = record.facts
    return {
        **facts.model_dump(mode="json"),
        "model_id": facts.model_id,
        "facts_digest": facts.digest(),
        "removed_at": record.removed_at,
        "signatures": record.signatures,
    }


def _require_ready(repository: Repository | None) -> None:
    """Before anything is made: a version whose tag cannot be written would have none."""
    if repository is None:
        raise InvalidInputError("--tag needs --git", field="tag")
    for finding in repository.readiness():
        if not finding.holds:
            raise InvalidInputError(
                f"no tag can be written, for want of {finding.condition}: {finding.advice}", field="tag"
            )


def _tagged(repository: Repository, record: Record, push: str | None) -> str:
    name = repository.tag(record.facts)
    if push:
        repository.push(name, push)
    return name


def _size(source: Path) -> int:
    files = [source] if source.is_file() else source.rglob("*")
    return sum(path.lstat().st_size for path in files if path.is_file())


def _described(source: Path, describe: Path | None, options: Mapping[str, Any]) -> Description:
    """What the file says, and what the options say instead."""
    from acgs.registry.describing import describe as description_of
    from acgs.registry.describing import kind_of, pair, read_fields

    given = read_fields(describe) if describe is not None else {}
    given |= {key: options[key] for key in ("kind", "parent", "base") if options[key] is not None}
    given.setdefault("kind", kind_of(source))
    if options["data"]:
        given["data"] = [{"name": name, "digest": digest} for name, digest in map(pair("data"), options["data"])]
    if options["metric"]:
        given["metrics"] = dict(map(pair("metric"), options["metric"]))
    if options["privacy"]:
        population, spent = pair("privacy")(options["privacy"])
        epsilon, _, delta = spent.partition(",")
        given["privacy"] = {"population": population, "epsilon": epsilon, "delta": delta}
    return description_of(given)
