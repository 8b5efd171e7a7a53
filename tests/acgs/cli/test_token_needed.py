"""Who may do what, over all commands.

Every command stands in the table, with the permission that it asks for or the reason why it asks for none; one that
does not, fails here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from acgs.cli.main import SUB_COMMANDS, run
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import PERMISSIONS, Permission, Role
from acgs.settings import Settings

READS = "shows what whoever can read this installation's files can read anyway"
FILES = "works on files that it is given"
TRAINS = "a job of the person at the terminal, on their files; another cluster asks for Ray's token"
KEYS = "needs the private key's folder, whose owner gives access to others"
PLATFORM = "starts and stops processes of the person at the terminal"
DELIVERS = "does a round of what the platform does all the time"

OPEN = {
    "demo train": TRAINS,
    "cluster up": PLATFORM,
    "cluster status": READS,
    "cluster down": PLATFORM,
    "governance evaluate": FILES,
    "governance score": FILES,
    "train sft": TRAINS,
    "train dapt": TRAINS,
    "train dp": TRAINS,
    "train run": TRAINS,
    "train compare": TRAINS,
    "train guard-adapter": TRAINS,
    "train sweep": TRAINS,
    "train guard": TRAINS,
    "privacy ledger": READS,
    "privacy estimate": READS,
    "privacy close": TRAINS,
    "constitution show": READS,
    "constitution lint": FILES,
    "constitution lock": FILES,
    "constitution diff": FILES,
    "constitution test": FILES,
    "audit sequence": DELIVERS,
    "audit verify": READS,
    "audit prove": READS,
    "audit export": READS,
    "audit show": READS,
    "audit keys": READS,
    "audit events": READS,
    "registry list": READS,
    "registry show": READS,
    "registry fetch": READS,
    "registry lineage": READS,
    "registry verify": READS,
    "registry public-keys": READS,
    "registry ready": READS,
    "registry keys": READS,
    "release document": READS,
    "release policy": READS,
    "release status": READS,
    "release history": READS,
    "release verify": FILES,
    "webhook list": READS,
    "webhook deliveries": READS,
    "webhook deliver": DELIVERS,
    "causal audit": FILES,
    "causal effect": FILES,
    "token issue": KEYS,
    "token revoke": KEYS,
    "token keys": KEYS,
    "token rotate": KEYS,
    "token retire": KEYS,
    "retrieval import": FILES,
    "retrieval distil-encoder": FILES,
    "retrieval index": FILES,
    "retrieval search": FILES,
    "retrieval evaluate": FILES,
    "t1 package": FILES,
    "data generate": FILES,
    "data import": FILES,
    "data filter": FILES,
    "data revise": FILES,
    "data inspect": FILES,
}
VERSION, DIGEST = "triage@1.0.0", "0" * 64
GUARDED: dict[str, tuple[Permission, list[str]]] = {
    "audit rotate-key": (Permission.MODEL_COLLECT, []),
    "registry create": (Permission.MODEL_CREATE, ["triage", "absent", "--no-git"]),
    "registry hold": (Permission.MODEL_RELEASE, [VERSION, "--reason", "case 7"]),
    "registry unhold": (Permission.MODEL_RELEASE, [VERSION]),
    "registry tag": (Permission.MODEL_CREATE, [VERSION]),
    "registry gc": (Permission.MODEL_COLLECT, ["--apply"]),
    "registry doctor": (Permission.MODEL_COLLECT, ["--repair"]),
    "registry rotate-key": (Permission.MODEL_COLLECT, []),
    "registry rewrap": (Permission.MODEL_COLLECT, ["--apply"]),
    "registry retire-key": (Permission.MODEL_COLLECT, ["0" * 16]),
    "release stage": (Permission.MODEL_RELEASE, [VERSION, "--data", "absent"]),
    "release contract": (Permission.MODEL_RELEASE, [VERSION, "--data", "absent"]),
    "release promote": (Permission.MODEL_RELEASE, [VERSION]),
    "release rollback": (Permission.MODEL_RELEASE, ["triage", "--reason", "complaints"]),
    "release approve": (Permission.MODEL_APPROVE, [DIGEST, "--reason", "known bias"]),
    "release adopt-policy": (Permission.RELEASE_RULE, ["absent"]),
    "webhook add": (Permission.WEBHOOK_MANAGE, ["https://hooks.example.org", "--topic", "release.promoted"]),
    "webhook remove": (Permission.WEBHOOK_MANAGE, ["nobody"]),
}
"""With arguments under which a command that is let in ends soon."""
WITHOUT_FLAG: dict[str, list[str]] = {"registry gc": [], "registry doctor": [], "registry rewrap": []}
"""Commands that change nothing without a flag."""
NO_SECRETS = {
    "--log-key": "public",
    "--public-key": "public",
    "--retired-key": "public",
    "--key-variable": "the name of an environment variable",
    "--cpus-per-actor": "of Ray",
    "--gpus-per-actor": "of Ray",
}.keys()
CASES = [pytest.param(name, *rule, id=name) for name, rule in GUARDED.items()]


def commands(name: str, command: Any) -> Iterator[str]:
    """All commands under one."""
    if not hasattr(command, "commands"):
        yield name
        return
    for word, inner in command.commands.items():
        yield from commands(f"{name} {word}", inner)


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ACGS_DATABASE_URL", "ACGS_TOKEN", "ACGS_TOKEN_FILE", "ACGS_JWKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; its exit code and what it says on standard error, in one line."""

    def run_words(name: str, arguments: list[str]) -> tuple[int, str]:
        capsys.readouterr()
        code = run([*name.split(), *arguments])
        return code, " ".join(capsys.readouterr().err.split())

    return run_words


def test_every_command_is_in_the_table() -> None:
    found = {
        command
        for name, place in SUB_COMMANDS.items()
        for command in commands(name, get_command(import_module(place.module).app))
    }
    assert not OPEN.keys() & GUARDED.keys()
    assert found == OPEN.keys() | GUARDED.keys()


@pytest.mark.parametrize(("name", "permission", "arguments"), CASES)
def test_a_command_that_changes_state_lets_in_whom_the_table_says(
    said: Any, monkeypatch: pytest.MonkeyPatch, name: str, permission: Permission, arguments: list[str]
) -> None:
    issuer = TokenIssuer.open(Settings())
    answers = {}
    for role in Role:
        monkeypatch.setenv("ACGS_TOKEN", issuer.issue("mia", [role], timedelta(hours=1)).text)
        answers[role] = said(name, arguments)
    refused = {role for role, (code, text) in answers.items() if f"needs the permission {permission}" in text}
    assert refused == {role for role in Role if permission not in PERMISSIONS[role]}
    assert all(answers[role] == (2, answers[role][1]) and answers[role][1].count("acgs:") == 1 for role in refused)

    for token in ("a.b.c", ""):
        monkeypatch.setenv("ACGS_TOKEN", token)
        code, text = said(name, arguments)
        assert (code, "does not hold" in text) == (2, True)
    monkeypatch.delenv("ACGS_TOKEN")
    code, text = said(name, arguments)
    assert (code, "asks who you are" in text) == (2, True)


@pytest.mark.parametrize(("name", "arguments"), WITHOUT_FLAG.items())
def test_a_look_at_what_would_change_needs_no_token(said: Any, name: str, arguments: list[str]) -> None:
    TokenIssuer.open(Settings()).issue("mia", [Role.VIEWER], timedelta(hours=1))
    assert said(name, arguments) == (0, "")


def test_before_the_first_key_the_local_user_may_do_everything_but_approve(said: Any) -> None:
    for name, (permission, arguments) in GUARDED.items():
        _, text = said(name, arguments)
        assert ("needs the permission" in text) == (permission is Permission.MODEL_APPROVE), name
        assert "who you are" not in text


def options(command: Any) -> Iterator[tuple[str, bool]]:
    """All long options under a command, and whether they take a file."""
    for inner in getattr(command, "commands", {}).values():
        yield from options(inner)
    for parameter in command.params:
        names = [option for option in parameter.opts if option.startswith("--")]
        yield from ((name, parameter.type_descriptor.annotation is Path) for name in names)


def test_no_command_takes_a_secret_or_a_name_to_act_under_as_an_option() -> None:
    words = {"token", "secret", "password", "passphrase", "credential", "as", "actor", "key"}
    found = {
        option
        for place in SUB_COMMANDS.values()
        for option, is_file in options(get_command(import_module(place.module).app))
        if not is_file and set(option.strip("-").split("-")) & words
    }
    assert found == NO_SECRETS
