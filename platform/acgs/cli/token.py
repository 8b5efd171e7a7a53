"""`acgs token`: give people and programs access to the services."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from acgs.cli.output import JSON_OPTION, write_json
from acgs.security.roles import Role
from acgs.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help=__doc__)

KeyOption = Annotated[
    Path | None, typer.Option("--key", help="Private key, made on first use with its public half beside it.")
]
JsonOption = Annotated[bool, typer.Option(JSON_OPTION, help="One JSON object on standard output.")]


@app.callback()
def root() -> None:
    """Give people and programs access to the services."""


@app.command()
def issue(
    subject: Annotated[str, typer.Argument(help="Who will use it: a person's or a program's name.")],
    role: Annotated[list[Role], typer.Option("--role", help="Repeat for several.")],
    hours: Annotated[float, typer.Option(min=0.01, max=2160, help="How long it is valid.")] = 12,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a bearer token.

    Example: [bold]curl -H "Authorization: Bearer $(acgs token issue mia --role trainer)" ...[/bold]
    """
    from acgs.security.tokens import PRIVATE_KEY_FILE, PUBLIC_KEY_FILE, TOKEN_FOLDER, TokenIssuer

    private = key or Settings().state_dir / TOKEN_FOLDER / PRIVATE_KEY_FILE
    issuer = TokenIssuer.open(private, private.with_name(PUBLIC_KEY_FILE))
    token = issuer.issue(subject, role, timedelta(hours=hours))
    if as_json:
        write_json({"token": token, "subject": subject, "roles": sorted(role), "hours": hours})
    else:
        typer.echo(token)
