"""`acgs webhook`: who is told of releases, and whether it arrived."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from acgs.cli.output import JSON_OPTION, say, write_json, write_table
from acgs.registry.webhooks.subscription import Topic
from acgs.security.callers import permitted_caller
from acgs.security.roles import Permission
from acgs.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="""Tell others of versions and releases.

    Deliveries are signed as in Standard Webhooks (HMAC-SHA256 with the secret in the file of ACGS_WEBHOOK_SECRET, by
    default keys/webhook.secret in the state directory), tried again for over an hour, and kept with how each went. The
    platform delivers while it runs; 'deliver' does one round by hand.""",
)

AsJson = Annotated[bool, typer.Option(JSON_OPTION, help="Write one JSON document.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="https://..., or http:// to this machine.")],
    topic: Annotated[list[Topic], typer.Option("--topic", help="What to tell of; repeat.")],
    as_json: AsJson = False,
) -> None:
    """Tell an address of what happens from now on.

    Example: `acgs webhook add https://hooks.example.org/acgs --topic release.promoted --topic release.rolled_back`
    """
    from acgs.registry.webhooks.opening import open_secret, open_webhooks

    settings = Settings()
    caller = permitted_caller(settings, Permission.WEBHOOK_MANAGE)
    open_secret(settings)
    made = open_webhooks(settings).add(url, topic, actor=caller.subject)
    if as_json:
        write_json({"webhook_id": made.webhook_id, "place": made.place, "topics": list(made.topics)})
    else:
        say(f"{made.webhook_id}: {made.place} is told of {', '.join(made.topics)}")


@app.command("list")
def list_webhooks(as_json: AsJson = False) -> None:
    """List who is told of what. Paths and queries of addresses, which may hold secrets, are not shown."""
    from acgs.registry.webhooks.opening import open_webhooks

    hooks = open_webhooks(Settings()).subscriptions()
    rows = [(hook.webhook_id, hook.place, ", ".join(hook.topics), hook.created_at[:19]) for hook in hooks]
    if as_json:
        names = ("webhook_id", "place", "topics", "created_at")
        write_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        write_table("webhooks" if rows else "nobody is told", ("id", "where", "topics", "since"), rows)


@app.command()
def remove(webhook_id: Annotated[str, typer.Argument(help="As 'list' shows it.")]) -> None:
    """Tell an address nothing more."""
    from acgs.registry.webhooks.opening import open_webhooks

    settings = Settings()
    caller = permitted_caller(settings, Permission.WEBHOOK_MANAGE)
    open_webhooks(settings).remove(webhook_id, actor=caller.subject)
    say(f"{webhook_id} is removed")


@app.command()
def deliveries(
    webhook_id: Annotated[str | None, typer.Argument(help="Only of this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show what was sent, how often it was tried, and what came back."""
    from acgs.registry.webhooks.opening import open_webhooks

    found = open_webhooks(Settings()).deliveries(webhook_id, limit=limit)
    if as_json:
        write_json([asdict(delivery) for delivery in found])
        return
    rows = [(d.event_number, d.topic, d.webhook_id, d.state, d.tries, d.answer) for d in found]
    write_table(
        "deliveries" if rows else "nothing sent yet", ("event", "topic", "to", "state", "tries", "answer"), rows
    )


@app.command()
def deliver(as_json: AsJson = False) -> None:
    """Try what is due, once."""
    from acgs.registry.webhooks.opening import open_deliverer

    tried = open_deliverer(Settings()).deliver_due()
    if as_json:
        write_json([asdict(delivery) for delivery in tried])
    else:
        arrived = sum(delivery.state == "delivered" for delivery in tried)
        say(f"{arrived} of {len(tried)} deliveries arrived")
