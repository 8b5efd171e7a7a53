"""`acgs audit`: sequence, verify, prove, export and show the audit log."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from acgs.audit.asking import Question, ask, moment
from acgs.audit.entries import parse_entry
from acgs.audit.entry_index import find_entry
from acgs.audit.installation import audit_directory, signing_key_path
from acgs.audit.key_ring import ends_of, read_retired, read_ring
from acgs.audit.keys import SigningKey
from acgs.audit.layout import DEFAULT_ORIGIN, AuditDirectory
from acgs.audit.log import AuditLog
from acgs.audit.merkle import leaf_hash
from acgs.audit.notes import VerifierKey
from acgs.audit.proofs import InclusionProof, prove_inclusion, verify_proof
from acgs.audit.receipts import parse_receipt, verify_receipt
from acgs.audit.rotation import rotate_signing_key
from acgs.audit.sequencer import sequence as merge_journals
from acgs.audit.trust import publish_key, published_keys, trusted_keys
from acgs.audit.verification import keys_at, verify_growth, verify_log
from acgs.errors import IntegrityError, InvalidInputError
from acgs.security.callers import permitted_caller
from acgs.security.roles import Permission
from acgs.settings import Settings

VERIFICATION_FAILED = 1
CHAIN = "previous"
"""Names the event before of the same model; of interest to programs."""

app = typer.Typer(
    no_args_is_help=True,
    help="""The tamper-evident log of decisions and lifecycle events.

    Replicas write signed receipts to journals, `sequence` merges them into one Merkle tree (RFC 6962) and signs a
    checkpoint. Keep a copy of a checkpoint elsewhere: `verify --from COPY` then shows that nothing was removed or
    rewritten since. Exit codes: 0 it holds, 1 it does not, 2 the input cannot be used.""",
)

StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help="The audit directory. Default: `audit` in ACGS_STATE_DIR.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
PublicKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--public-key",
        help="A trusted key: a verifier key (name+hash+base64), a file of such, or a PEM file. Repeat it for earlier "
        "keys. Default: what the installation published in log.pub; a key from elsewhere makes the check independent.",
        show_default=False,
    ),
]


@app.command()
def sequence(
    state_dir: StateDir = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Ed25519 key file (PEM); created if absent. Default: ACGS_SIGNING_KEY.", show_default=False),
    ] = None,
    origin: Annotated[str, typer.Option(help="The log's unique name, fixed when it is created.")] = DEFAULT_ORIGIN,
    retired_key: Annotated[
        list[str] | None,
        typer.Option(help="After a change of key: the old verifier key, which signed the last checkpoint."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge all journals into the log and sign a checkpoint.

    Each record is merged exactly once, whatever crashed before. Nothing is signed that does not extend the previous
    checkpoint.
    """
    audit = _audit_directory(state_dir)
    signing_key = SigningKey.load_or_create(key or signing_key_path(Settings(), audit))
    retired = trusted_keys(retired_key or [], origin)
    with _failure_exits(as_json):
        report = merge_journals(audit, signing_key, origin=origin, retired_keys=retired)
        publish_key(audit, VerifierKey(origin, signing_key.public))
    _show(
        "Sequenced",
        {
            "size": report.size,
            "root": report.root,
            "added": report.added,
            "duplicates": report.duplicates,
            "journals_removed": report.journals_removed,
        },
        as_json,
    )


@app.command()
def verify(
    *,
    state_dir: StateDir = None,
    public_key: PublicKeys = None,
    receipt: Annotated[
        Path | None, typer.Option(help="Check this receipt (JSON file) offline, without the log.", show_default=False)
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option(help="With --receipt: check too that this proof shows it in the log.", show_default=False),
    ] = None,
    older: Annotated[
        Path | None,
        typer.Option("--from", help="Check that the log only grew since this checkpoint file.", show_default=False),
    ] = None,
    newer: Annotated[
        Path | None,
        typer.Option("--to", help="With --from: up to this checkpoint file. Default: the last.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole log, one receipt, or the growth between two checkpoints.

    Without options: recompute the root from all entries, check every receipt's signature and the checkpoint's.
    """
    if (proof and not receipt) or (newer and not older) or (receipt and older):
        raise InvalidInputError("use --receipt [--proof], or --from [--to], or neither")
    audit = _audit_directory(state_dir)
    if receipt is not None:
        _verify_receipt(audit, public_key, receipt, proof, as_json=as_json)
    elif older is not None:
        _verify_growth(audit, public_key, older, newer, as_json=as_json)
    else:
        _verify_whole(audit, public_key, as_json=as_json)


@app.command()
def prove(
    entry: Annotated[str, typer.Argument(help="A receipt or event id, a hex leaf hash, or an index from 0.")],
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the proof that an entry is in the log, in the form of C2SP tlog-proof.

    Save it beside the receipt: `verify --receipt FILE --proof FILE --public-key KEY` checks both without this log.
    """
    with _failure_exits(as_json):
        log = AuditLog.open(_audit_directory(state_dir).log)
        proof = prove_inclusion(log, _position(log, entry))
        leaf = leaf_hash(log.entry(proof.index))
    if as_json:
        _write_json(
            {
                "index": proof.index,
                "leaf_hash": leaf.hex(),
                "hashes": [digest.hex() for digest in proof.hashes],
                "checkpoint": proof.checkpoint,
            }
        )
    else:
        typer.echo(proof.text(), nl=False)


@app.command()
def export(
    state_dir: StateDir = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only `receipt` or only `event`.")] = None,
    start: Annotated[int, typer.Option(help="The first index.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the log's entries as JSON lines.

    A line is the entry byte for byte, so that SHA-256 over a zero byte and the line is its leaf hash. With --json each
    line also names index and leaf hash.
    """
    if kind not in (None, "receipt", "event"):
        raise InvalidInputError("--type is receipt or event", field="type")
    with _failure_exits(as_json):
        log = AuditLog.open(_audit_directory(state_dir).log)
        for index, entry in enumerate(log.entries(start), start):
            if kind is None or _parsed_type(entry, index) == kind:
                leaf = leaf_hash(entry).hex()
                line = {"index": index, "leaf_hash": leaf, "entry": json.loads(entry)} if as_json else None
                typer.echo(entry if line is None else json.dumps(line, ensure_ascii=False))


@app.command()
def events(
    state_dir: StateDir = None,
    *,
    subject: Annotated[str | None, typer.Option(help="To what it happened, as in triage@1.2.0, or a key's id.")] = None,
    model: Annotated[str | None, typer.Option(help="A model, with all its versions.")] = None,
    kind: Annotated[str | None, typer.Option(help="What happened: 'release.promoted', or 'release' for all.")] = None,
    by: Annotated[str | None, typer.Option(help="Through whom.")] = None,
    since: Annotated[str | None, typer.Option(help="A date or time (UTC): then or later.")] = None,
    until: Annotated[str | None, typer.Option(help="A date or time (UTC): before it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many, the latest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to models, releases, keys and tokens, in the order of the log.

    What still waits in a journal is not there yet: `acgs audit sequence` merges it. `prove` an index for others.

    Example: `acgs audit events --model triage --kind release --since 2026-11-01`
    """
    question = Question(
        subject=subject,
        model=model,
        kind=kind,
        actor=by,
        since=None if since is None else moment(since, "since"),
        until=None if until is None else moment(until, "until"),
    )
    with _failure_exits(as_json):
        log = AuditLog.open(_audit_directory(state_dir).log)
        found = deque(ask(log, question), maxlen=limit)
    if as_json:
        _write_json([{"index": index, **event.model_dump(mode="json")} for index, event in found])
        return
    table = Table("index", "when", "what", "to", "by", "details", title_justify="left")
    table.title = f"{len(found)} events in a log of {log.size} entries"
    for index, event in found:
        details = json.dumps({k: v for k, v in event.details.items() if k != CHAIN}, ensure_ascii=False)
        shown = (str(index), event.occurred_at[:19], event.kind, event.subject, event.actor, details)
        table.add_row(*map(escape, shown))
    Console().print(table)


@app.command()
def keys(state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """List the keys whose signatures count, the one in force first, with until when and to which place in the log."""
    audit = _audit_directory(state_dir)
    with _failure_exits(as_json):
        ring = read_ring(audit, SigningKey.load(signing_key_path(Settings(), audit)).public)
    rows = [{"key_id": ring.present.key_id, "since": ring.retired[0].until if ring.retired else None}]
    rows += [
        {"key_id": r.key.key_id, "since": r.since, "until": r.until, "log_size": str(r.log_size)} for r in ring.retired
    ]
    if as_json:
        _write_json(rows)
        return
    table = Table("key", "since", "until", "counts for entries below", title="Signing keys", title_justify="left")
    for row in rows:
        table.add_row(*(row.get(name) or "" for name in ("key_id", "since", "until", "log_size")))
    Console().print(table)


@app.command("rotate-key")
def rotate_key(as_json: AsJson = False) -> None:
    """Sign with a new key from now on, while the platform is stopped.

    What the earlier key signed still verifies if the log held it by now; what it signs later never does. Give the new
    key to whoever verifies: `acgs registry public-keys`, `acgs audit show`. The ECDSA key of the public tool stays.
    """
    from acgs.registry.opening import open_registry

    settings = Settings()
    actor = permitted_caller(settings, Permission.MODEL_COLLECT).subject
    audit = audit_directory(settings)
    path = signing_key_path(settings, audit)
    with _failure_exits(as_json):
        # What a crash kept out of the log would not count for what the earlier key signed.
        open_registry(settings).carry_over()
        retired = rotate_signing_key(audit, path, actor=actor)
    told = {"key_id": retired.successor, "retired": retired.key.key_id, "log_size": retired.log_size}
    _show("Signs from now on", told, as_json)


@app.command()
def show(state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show the log's size, root, last checkpoint and public keys, to be kept where this installation cannot write."""
    audit = _audit_directory(state_dir)
    with _failure_exits(as_json):
        log = AuditLog.open(audit.log)
        checkpoint = log.checkpoint_note()
    fields = {
        "origin": log.state.origin,
        "size": log.size,
        "root": log.state.root,
        "checkpoint": checkpoint,
        "public_keys": [str(key) for key in published_keys(audit)],
    }
    _show("Audit log", fields, as_json)


def _verify_receipt(
    audit: AuditDirectory, given: list[str] | None, receipt: Path, proof: Path | None, *, as_json: bool
) -> None:
    keys = trusted_keys(given, DEFAULT_ORIGIN) if given else published_keys(audit)
    parsed = parse_receipt(_read(receipt))
    found: dict[str, Any] = {"receipt_id": parsed.receipt_id, "verdict": parsed.verdict}
    with _failure_exits(as_json):
        receipt_keys = [key.public for key in keys]
        verify_receipt(parsed, receipt_keys)
        leaf = leaf_hash(parsed.entry())
        if proof is not None:
            shown = InclusionProof.parse(_read(proof))
            checkpoint = verify_proof(shown, leaf, keys)
            verify_receipt(parsed, keys_at(shown.index, receipt_keys, ends_of(receipt_keys, read_retired(audit))))
            found |= {"log": checkpoint.origin, "size": checkpoint.size}
    _show("The receipt holds", found | {"leaf_hash": leaf.hex()}, as_json, holds=True)


def _verify_growth(
    audit: AuditDirectory, given: list[str] | None, older: Path, newer: Path | None, *, as_json: bool
) -> None:
    with _failure_exits(as_json):
        log = AuditLog.open(audit.log)
        keys = _log_keys(audit, given, log)
        old_size, new_size = verify_growth(log, _read(older), None if newer is None else _read(newer), keys)
    _show("The log only grew", {"from_size": old_size, "to_size": new_size}, as_json, holds=True)


def _verify_whole(audit: AuditDirectory, given: list[str] | None, *, as_json: bool) -> None:
    with _failure_exits(as_json):
        log = AuditLog.open(audit.log)
        keys = _log_keys(audit, given, log)
        receipt_keys = [key.public for key in keys]
        report = verify_log(log, keys, receipt_keys, ends=ends_of(receipt_keys, read_retired(audit)))
    fields = {
        "size": report.size,
        "root": report.root,
        "receipts": report.receipts,
        "events": report.events,
        "unsigned": report.unsigned,
        "faults": list(report.faults),
    }
    _show("The log holds" if report.holds else "The log does NOT hold", fields, as_json, holds=report.holds)
    if not report.holds:
        raise typer.Exit(VERIFICATION_FAILED)


def _audit_directory(given: Path | None) -> AuditDirectory:
    return AuditDirectory(given if given is not None else Settings().state_dir / "audit")


def _log_keys(audit: AuditDirectory, given: list[str] | None, log: AuditLog) -> tuple[VerifierKey, ...]:
    return trusted_keys(given, log.state.origin) if given else published_keys(audit)


def _position(log: AuditLog, entry: str) -> int:
    if entry.isascii() and entry.isdigit() and len(entry) < 20:
        return int(entry)
    position = find_entry(log, entry)
    if position is None:
        raise InvalidInputError("the log holds no such entry; it may still wait in a journal: `acgs audit sequence`")
    return position


def _parsed_type(entry: bytes, index: int) -> str:
    try:
        return parse_entry(entry).type
    except InvalidInputError as error:
        raise IntegrityError(f"entry {index}: {error.message}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path.name} cannot be read as text; check the file") from error


@contextmanager
def _failure_exits(as_json: bool) -> Iterator[None]:
    """Turn what does not verify into exit code 1, with the reason."""
    try:
        yield
    except IntegrityError as error:
        if as_json:
            _write_json({"holds": False, "faults": [error.message]})
        else:
            Console(stderr=True).print(f"[red]does not hold:[/red] {escape(error.message)}", soft_wrap=True)
        raise typer.Exit(VERIFICATION_FAILED) from error


def _show(title: str, fields: dict[str, Any], as_json: bool, *, holds: bool | None = None) -> None:
    if as_json:
        _write_json(fields if holds is None else {"holds": holds, **fields})
        return
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in fields.items():
        text = "\n".join(value) if isinstance(value, list) else str(value)
        table.add_row(name.replace("_", " "), escape(text) if text else "none")
    Console().print(table)


def _write_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))
