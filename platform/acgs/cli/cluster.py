"""`acgs cluster`: bring the platform up on this machine, look at it, take it down."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from acgs.cli.index_swap import require_index
from acgs.cli.local_cluster import ClusterControl
from acgs.cli.output import JSON_OPTION
from acgs.errors import UnavailableError
from acgs.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help=__doc__)
DEFAULT_CONFIG = Path("cluster/serve.yaml")
DEFAULT_PORT = 8000

ConfigOption = Annotated[Path, typer.Option("--config", help="Serve configuration to deploy.")]
JsonOption = Annotated[bool, typer.Option(JSON_OPTION, help="One JSON object on standard output.")]
PortOption = Annotated[int, typer.Option("--port", min=1024, max=65535, help="HTTP port on 127.0.0.1.")]


def start(config: Path, port: int, console: Console, *, state: Path | None = None) -> ClusterControl:
    """Start the cluster with its progress shown on one line."""
    with console.status("starting") as status:
        control = ClusterControl(state or Settings().state_dir, status.update)
        control.start(config, port=port)
    return control


@app.command()
def up(config: ConfigOption = DEFAULT_CONFIG, port: PortOption = DEFAULT_PORT, as_json: JsonOption = False) -> None:
    """Start a local Ray cluster and deploy the applications, or what changed of them on a cluster that runs.

    It keeps running in the background. Where retrieval refuses its index, this command says why and fails; what was in
    force before answers on. Example: [bold]acgs cluster up --port 8010[/bold]
    """
    control = start(config, port, Console(stderr=True))
    cluster = control.current()
    if cluster is None:
        raise UnavailableError("the cluster stopped right after its start; see .acgs/ray-start.log")
    if as_json:
        typer.echo(json.dumps(asdict(cluster)))
    else:
        typer.echo(f"up at {cluster.url} (dashboard {cluster.dashboard}); stop it with 'acgs cluster down'")
    with Console(stderr=True).status("retrieval opens its index"):
        require_index(config, cluster.url)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Say whether the local cluster runs and how its applications fare. Exit code 1 if it does not run."""
    control = ClusterControl(Settings().state_dir, lambda _line: None)
    cluster = control.current()
    applications = {name: app["status"] for name, app in control.applications(cluster).items()} if cluster else {}
    if as_json:
        typer.echo(json.dumps({"running": cluster is not None, "applications": applications}))
    else:
        typer.echo("not running; start it with 'acgs cluster up'" if cluster is None else f"running at {cluster.url}")
        for name, state in applications.items():
            typer.echo(f"  {name}: {state.lower()}")
    if cluster is None:
        raise typer.Exit(1)


@app.command()
def down(as_json: JsonOption = False) -> None:
    """Stop the local cluster that `acgs cluster up` started; other Ray processes are left alone."""
    stopped = ClusterControl(Settings().state_dir, lambda _line: None).stop()
    typer.echo(json.dumps({"stopped": stopped}) if as_json else ("stopped" if stopped else "nothing was running"))
