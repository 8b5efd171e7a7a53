"""`acgs registry keys`, `rotate-key`, `rewrap`, `retire-key`: the key that wraps the keys of artifacts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from acgs.cli.output import JSON_OPTION, say, write_json, write_table
from acgs.errors import InvalidInputError
from acgs.security.callers import permitted_caller
from acgs.security.roles import Permission
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.registry.artifacts.keys import KeyFile

NOT_ALL = 1

app = typer.Typer()

AsJson = Annotated[bool, typer.Option(JSON_OPTION, help="Write one JSON document.")]


@app.command()
def keys(as_json: AsJson = False) -> None:
    """List the keys that wrap the keys of artifacts, and how much is under each; the last of a key file wraps."""
    from acgs.registry.artifacts.keys import KeyFile
    from acgs.registry.artifacts.opening import open_keys
    from acgs.registry.opening import open_registry
    from acgs.registry.rewrapping import keys_in_use

    settings = Settings()
    provider = open_keys(settings)
    used = keys_in_use(open_registry(settings))
    known = provider.key_ids() if isinstance(provider, KeyFile) else [provider.key_id]
    listed = [*(key_id for key_id in used if key_id not in known), *known]
    if as_json:
        write_json({"present": provider.key_id, "keys": {key_id: used[key_id] for key_id in listed}})
        return
    rows = [(k, used[k], "wraps" if k == provider.key_id else "" if k in known else "LOST") for k in listed]
    write_table("keys that wrap", ("key", "wrapped by it", "state"), rows)


@app.command("rotate-key")
def rotate_key(as_json: AsJson = False) -> None:
    """Wrap with a new key from now on. What is under the earlier ones stays readable; 'rewrap' moves it.

    A key service rotates its own keys: run 'rewrap' after it.
    """
    settings = Settings()
    actor = permitted_caller(settings, Permission.MODEL_COLLECT).subject
    key_id = _key_file(settings).rotate()
    _record(settings, "artifact.key.added", actor, key_id)
    if as_json:
        write_json({"key_id": key_id})
    else:
        say(f"{key_id} wraps from now on; 'acgs registry rewrap --apply' moves what is under earlier keys")


@app.command()
def rewrap(
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without it only what would be done is shown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Wrap the key of every artifact with the present key. No stored file is read or written.

    Whatever ends it in the middle, every version stays readable, and the next run goes on. The earlier key is needed
    until then, and for copies of the database from before. Exit code 1 if something could not be wrapped anew.
    """
    from acgs.registry.opening import open_registry
    from acgs.registry.rewrapping import rewrap as wrap_anew

    settings = Settings()
    actor = permitted_caller(settings, Permission.MODEL_COLLECT).subject if apply else ""
    done = wrap_anew(open_registry(settings), actor=actor, dry_run=not apply)
    if as_json:
        write_json(asdict(done))
    else:
        for fault in done.faults:
            say(f"NOT wrapped anew: {fault}")
        verb = "wrapped" if apply else "would be wrapped (--apply does it)"
        secret = ", and the registry's own secret," if done.secret else ""
        say(f"the keys of {done.artifacts} artifacts{secret} {verb} with {done.key_id}")
    if done.faults:
        raise typer.Exit(NOT_ALL)


@app.command("retire-key")
def retire_key(
    key_id: Annotated[str, typer.Argument(help="An earlier key, as 'acgs registry keys' names it.")],
) -> None:
    """Take an earlier key out of the key file, once nothing is under it.

    Keep a copy of it for as long as you keep copies of the database from before the rewrap.
    """
    from acgs.registry.opening import open_registry
    from acgs.registry.rewrapping import retire_key as give_up

    settings = Settings()
    actor = permitted_caller(settings, Permission.MODEL_COLLECT).subject
    give_up(open_registry(settings), _key_file(settings), key_id)
    _record(settings, "artifact.key.retired", actor, key_id)
    say(f"{key_id} is no longer in the key file")


def _key_file(settings: Settings) -> KeyFile:
    """
    Raises:
        InvalidInputError: a key service keeps the keys.
    """
    from acgs.registry.artifacts.keys import KeyFile
    from acgs.registry.artifacts.opening import open_keys

    provider = open_keys(settings)
    if not isinstance(provider, KeyFile):
        raise InvalidInputError(
            "a key service keeps the wrapping key; rotate it there, then run 'acgs registry rewrap'",
            field="ACGS_ARTIFACT_KEY",
        )
    return provider


def _record(settings: Settings, kind: str, actor: str, key_id: str) -> None:
    from acgs.audit.entries import Event
    from acgs.audit.installation import audit_directory
    from acgs.registry.audit_trail import JournalTrail

    event = Event(kind=kind, actor=actor, subject=key_id, details={})
    JournalTrail(audit_directory(settings)).record([event])
