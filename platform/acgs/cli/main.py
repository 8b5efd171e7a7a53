"""The `acgs` command: sub-commands that load on use, and the one place where errors become exit codes.

Exit codes: 0 done, 1 what was checked does not hold, 2 the input or the installation cannot be used,
70 a fault in ACGS itself, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from acgs import __version__
from acgs.cli.output import JSON_OPTION, write_error
from acgs.errors import AcgsError

UNUSABLE: Final = 2
INTERNAL_FAULT: Final = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class SubCommand:
    """Where a sub-command lives: a module with a `typer.Typer` named `app`, imported when it is called."""

    module: str
    summary: str


SUB_COMMANDS: Final = {
    "demo": SubCommand("acgs.cli.demo", "See the platform decide real requests on a local cluster."),
    "cluster": SubCommand("acgs.cli.cluster", "Start, watch and stop a local cluster with the applications."),
    "governance": SubCommand(
        "acgs.cli.governance", "Judge files of requests, and measure the guard on labelled texts."
    ),
    "train": SubCommand(
        "acgs.cli.train", "Fine-tune language models, with or without differential privacy; train a guard bundle."
    ),
    "privacy": SubCommand("acgs.cli.privacy", "Show what training has spent of a data set's privacy; plan a run."),
    "constitution": SubCommand("acgs.cli.constitution", "Show, lint, test, compare and lock the constitution."),
    "audit": SubCommand("acgs.cli.audit", "Sequence, verify, prove and export the tamper-evident log."),
    "registry": SubCommand("acgs.cli.registry", "Name, store, sign, find, trace, check and collect model versions."),
    "release": SubCommand(
        "acgs.cli.release", "Stage, promote and roll back versions; show what was live when and why."
    ),
    "webhook": SubCommand("acgs.cli.webhook", "Tell others of versions and releases; show whether it arrived."),
    "causal": SubCommand("acgs.cli.causal", "Judge whether an effect read off a log may be believed."),
    "token": SubCommand("acgs.cli.token", "Give people and programs access to the services."),
    "retrieval": SubCommand("acgs.cli.retrieval", "Index, search and evaluate a corpus of documents."),
    "t1": SubCommand("acgs.cli.t1", "Package a retrieval candidate with the evidence for or against it."),
    "data": SubCommand("acgs.cli.data", "Generate, import, filter, revise and inspect data sets."),
}


_COMPLETION_OPTIONS: Final = ("install_completion", "show_completion")


class LateCommand(TyperCommand):
    """Stands for a sub-command until it is called; `acgs --help` shows its summary without importing it."""

    def __init__(self, name: str, place: SubCommand) -> None:
        super().__init__(name, help=place.summary, add_help_option=False)
        self._module = place.module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command, and go on with it."""
        command = get_command(import_module(self._module).app)
        # Shell completion is installed for `acgs` as a whole.
        command.params = [item for item in command.params if item.name not in _COMPLETION_OPTIONS]
        return command.make_context(info_name, args, parent, **extra)


class _Commands(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, place in SUB_COMMANDS.items():
            self.add_command(LateCommand(name, place))


app = typer.Typer(cls=_Commands, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"acgs {__version__}")
        raise typer.Exit


@app.callback(
    epilog="""[bold]Examples[/bold]

    acgs constitution lint

    acgs constitution diff ./mine ./proposal

    acgs data generate --count 10000 --seed 7 --output scenarios.jsonl

    acgs audit verify --json
    """
)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """One constitution, from the data filter to the served, signed decision.

    With [bold]--json[/bold] a command writes one JSON document to standard output, errors included.

    Exit codes: 0 done, 1 what was checked does not hold, 2 the input cannot be used, 130 interrupted.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises, unless ACGS_DEBUG is set."""
    as_json = JSON_OPTION in arguments
    try:
        code = get_command(app).main(args=list(arguments), prog_name="acgs", standalone_mode=False)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=as_json)
        return UNUSABLE
    except TyperException as error:
        return _refuse_usage(error, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("ACGS_DEBUG") == "1":
            raise
        return _tell_fault(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def _tell_fault(error: Exception, *, as_json: bool) -> int:
    """What went wrong where nothing of ours says it, in one line."""
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        write_error("system", f"cannot use{place}: {error.strerror or type(error).__name__}", as_json=as_json)
        return UNUSABLE
    if isinstance(error, ModuleNotFoundError):
        message = (
            f"'{error.name}' is not installed; this command needs an extra: "
            "pip install -c requirements.lock -e '.[train,retrieval,models]'"
        )
        write_error("unavailable", message, as_json=as_json)
        return UNUSABLE
    message = f"unexpected {type(error).__name__}; run it again with ACGS_DEBUG=1 for the traceback"
    write_error("internal", message, as_json=as_json)
    return INTERNAL_FAULT


def _refuse_usage(error: TyperException, *, as_json: bool) -> int:
    """A command line that was typed wrong; without arguments it is the help that is shown."""
    if as_json:
        write_error("usage", error.format_message(), as_json=True)
    else:
        from typer.rich_utils import rich_format_error

        rich_format_error(cast(Any, error))
    return UNUSABLE


def main() -> None:
    """Entry point of the `acgs` command."""
    sys.exit(run(sys.argv[1:]))
