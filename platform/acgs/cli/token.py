"""`acgs token`: give people and programs access to the services, and take it back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from acgs.cli.output import JSON_OPTION, say, write_json
from acgs.errors import InvalidInputError
from acgs.security.roles import Role
from acgs.settings import Settings

if TYPE_CHECKING:
    from pydantic import JsonValue

    from acgs.security.issuing import TokenIssuer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Give people and programs access to the services, and take it back.

    Whoever can read the private key in the state directory can give any role: keep it where only administrators are.
    From the first token on, commands that change models ask for one: ACGS_TOKEN, or ACGS_TOKEN_FILE (mode 0600).""",
)

JsonOption = Annotated[bool, typer.Option(JSON_OPTION, help="One JSON object on standard output.")]


@app.command()
def issue(
    subject: Annotated[str, typer.Argument(help="Who will use it: a person's or a program's name.")],
    role: Annotated[list[Role], typer.Option("--role", help="Repeat for several.")],
    hours: Annotated[float, typer.Option(min=0.01, max=2160, help="How long it is valid.")] = 12,
    as_json: JsonOption = False,
) -> None:
    """Issue a bearer token; the key for it is made on first use.

    Example: [bold]curl -H "Authorization: Bearer $(acgs token issue mia --role trainer)" ...[/bold]
    """
    settings = Settings()
    token = _issuer(settings).issue(subject, role, timedelta(hours=hours))
    _require_that_it_counts(settings, token.text)
    roles = sorted(role)
    _record(
        settings, "token.issued", token.token_id, {"to": subject, "roles": [*roles], "expires": _text(token.expires)}
    )
    if as_json:
        write_json(
            {"token": token.text, "subject": subject, "roles": roles, "hours": hours, "token_id": token.token_id}
        )
    else:
        typer.echo(token.text)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Its 'jti': 'token_id' of 'acgs token issue --json'.")],
) -> None:
    """Take one token back, from the next request on."""
    settings = Settings()
    _issuer(settings).revoke(token_id)
    _record(settings, "token.revoked", token_id, {})
    say(f"{token_id} counts no more")


@app.command()
def keys(as_json: JsonOption = False) -> None:
    """List the keys whose tokens count, oldest first; the last one signs."""
    found = _issuer(Settings()).key_ids()
    if as_json:
        write_json({"keys": found})
    else:
        say("\n".join(found) or "no keys yet; 'acgs token issue' makes the first")


@app.command()
def rotate(as_json: JsonOption = False) -> None:
    """Sign with a new key from now on. Tokens under the old one count until 'acgs token retire'."""
    settings = Settings()
    kid = _issuer(settings).rotate()
    _record(settings, "token.key.added", kid, {})
    if as_json:
        write_json({"kid": kid})
    else:
        say(f"{kid} signs from now on")


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="The key, as 'acgs token keys' names it.")],
) -> None:
    """Let a key, and so every token under it, count no more."""
    settings = Settings()
    _issuer(settings).retire(kid)
    _record(settings, "token.key.retired", kid, {})
    say(f"{kid} and its tokens count no more")


def _issuer(settings: Settings) -> TokenIssuer:
    from acgs.security.issuing import TokenIssuer

    return TokenIssuer.open(settings)


def _require_that_it_counts(settings: Settings, token: str) -> None:
    """
    Raises:
        InvalidInputError: the services would refuse it: they are told to trust other keys.
    """
    from acgs.security.tokens import AuthenticationError, open_verifier

    try:
        open_verifier(settings).verify(token)
    except AuthenticationError:
        raise InvalidInputError(
            "the keys of ACGS_JWKS do not include this installation's: get tokens from the identity provider whose "
            "keys they are, or unset it",
            field="jwks",
        ) from None


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _record(settings: Settings, kind: str, subject: str, details: dict[str, JsonValue]) -> None:
    """On record is who ran the command on this machine: the private key's owner."""
    from acgs.audit.entries import Event
    from acgs.audit.installation import audit_directory
    from acgs.registry.audit_trail import JournalTrail
    from acgs.security.callers import login_name

    event = Event(kind=kind, actor=login_name(), subject=subject, details=details)
    JournalTrail(audit_directory(settings)).record([event])
