from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acgs import __version__
from acgs.cli import main as command_line
from acgs.cli.main import SUB_COMMANDS, SubCommand, run
from acgs.errors import IntegrityError, InvalidInputError, UnavailableError

HEAVY = ("ray", "numpy", "sklearn", "torch", "pandas", "fastapi", "lightgbm", "pydantic")


def _in_a_fresh_interpreter(*arguments: str) -> list[str]:
    """Names of the heavy modules that a command imports."""
    code = f"import sys; from acgs.cli.main import run; run({list(arguments)!r}); sys.stdout.flush()"
    code += f"; print('IMPORTED', [name for name in {HEAVY!r} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    imported: list[str] = eval(output.rsplit("IMPORTED", 1)[1])
    return imported


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert _in_a_fresh_interpreter(*arguments) == []


def test_constitution_commands_need_neither_models_nor_ray() -> None:
    assert set(_in_a_fresh_interpreter("constitution", "lint")) <= {"pydantic"}


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"acgs {__version__}"


def test_help_lists_every_sub_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in SUB_COMMANDS)
    assert "Examples" in shown


@pytest.mark.parametrize("name", sorted(SUB_COMMANDS))
def test_every_sub_command_loads_and_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"acgs {name}" in shown
    assert "--install-completion" not in shown


def test_a_mistyped_command_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["constitutoin"]) == 2
    assert "constitution" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["bogus", "--json"], ["data", "generate", "--json"], ["audit", "--json"]])
def test_a_mistyped_line_is_an_error_object_where_json_was_asked_for(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(arguments) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "usage"
    assert error["message"]


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A sub-command that raises what the test wants."""
    module = tmp_path / "faulty_command.py"
    module.write_text(
        "import typer\napp = typer.Typer()\nfault = None\n"
        "@app.command()\ndef go(json: bool = typer.Option(False, '--json')) -> None:\n    raise fault\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(command_line.SUB_COMMANDS, "faulty", SubCommand("faulty_command", "Fails."))
    import importlib

    loaded = importlib.import_module("faulty_command")
    yield loaded
    sys.modules.pop("faulty_command")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (InvalidInputError("say what to do", field="count"), "validation"),
        (UnavailableError("say what to do", field="count"), "unavailable"),
        (IntegrityError("say what to do", field="count"), "integrity"),
    ],
)
def test_an_expected_error_is_one_sentence_and_exit_code_2(
    faulty: Any, capsys: pytest.CaptureFixture[str], fault: Exception, code: str
) -> None:
    faulty.fault = fault
    assert run(["faulty"]) == 2
    plain = capsys.readouterr()
    assert (plain.out, plain.err) == ("", "acgs: say what to do\n")
    assert run(["faulty", "--json"]) == 2
    machine = capsys.readouterr()
    assert json.loads(machine.out) == {"error": {"code": code, "message": "say what to do", "field": "count"}}
    assert machine.err == ""


def test_a_fault_of_ours_is_one_line_and_exit_code_70(
    faulty: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.fault = ZeroDivisionError("the customer's secret")
    monkeypatch.delenv("ACGS_DEBUG", raising=False)
    assert run(["faulty"]) == 70
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "ZeroDivisionError" in shown
    assert "ACGS_DEBUG=1" in shown
    assert "secret" not in shown
    assert run(["faulty", "--json"]) == 70
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "internal"


def test_a_module_of_an_extra_that_is_missing_is_named_with_what_to_install(
    faulty: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty.fault = ModuleNotFoundError("No module named 'Stemmer'", name="Stemmer")
    assert run(["faulty"]) == 2
    shown = capsys.readouterr().err
    assert "'Stemmer' is not installed" in shown
    assert "retrieval" in shown


def test_with_acgs_debug_the_traceback_comes_through(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty.fault = ZeroDivisionError("x")
    monkeypatch.setenv("ACGS_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["faulty"])


def test_an_interrupt_ends_with_130_and_no_traceback(faulty: Any, capsys: pytest.CaptureFixture[str]) -> None:
    faulty.fault = KeyboardInterrupt()
    assert run(["faulty"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_the_entry_point_hands_the_exit_code_to_the_shell(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "from acgs.cli.main import main; main()"]
    assert subprocess.run([*line, "--version"], capture_output=True, check=False).returncode == 0
    refused = subprocess.run(
        [*line, "constitution", "lint", "--path", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("acgs: cannot read")
