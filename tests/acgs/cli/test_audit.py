from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from acgs.audit.entries import Event
from acgs.audit.journal import Journal
from acgs.audit.keys import SigningKey
from acgs.audit.layout import DEFAULT_ORIGIN, AuditDirectory
from acgs.audit.notes import VerifierKey
from acgs.audit.receipts import DecisionFacts, ReceiptSigner, SignedReceipt
from acgs.cli.audit import app
from acgs.errors import InvalidInputError, UnavailableError

Run = Callable[..., Result]


@pytest.fixture
def audit(tmp_path: Path) -> AuditDirectory:
    return AuditDirectory(tmp_path / "audit")


@pytest.fixture
def run(audit: AuditDirectory, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("ACGS_SIGNING_KEY", raising=False)

    def run(command: str, *arguments: object) -> Result:
        words = [command, "--state-dir", str(audit.root), *map(str, arguments)]
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return run


@pytest.fixture
def receipt(audit: AuditDirectory, run: Run) -> SignedReceipt:
    """A receipt in a sequenced log of 41 entries."""
    signer = ReceiptSigner(SigningKey.load_or_create(audit.signing_key), "replica-1")
    facts = DecisionFacts("0" * 64, "1" * 64, "2" * 16, "1.0.0", "finance", "comply", ["a[red]"])
    receipts = signer.issue_many([facts] * 40)
    with Journal(audit.journals, "replica-1") as journal:
        journal.append_batch([issued.entry for issued in receipts])
        journal.append(Event(kind="release.promoted", actor="ci", subject="guard").entry())
    assert run("sequence").exit_code == 0
    return receipts[17]


def saved(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_sequencing_reports_what_it_merged(audit: AuditDirectory, run: Run) -> None:
    with Journal(audit.journals, "replica-1") as journal:
        journal.append(Event(kind="constitution.loaded", actor="ci", subject="shipped").entry())
    report = json.loads(run("sequence", "--json").stdout)
    assert (report["size"], report["added"], report["duplicates"]) == (1, 1, 0)
    assert json.loads(run("sequence", "--json").stdout)["added"] == 0


def test_an_honest_log_exits_0_and_an_altered_one_1(audit: AuditDirectory, run: Run, receipt: SignedReceipt) -> None:
    whole = run("verify", "--json")
    assert whole.exit_code == 0
    assert json.loads(whole.stdout) | {"root": ""} == {
        "holds": True, "size": 41, "root": "", "receipts": 40, "events": 1, "unsigned": 0, "faults": []
    }  # fmt: skip
    bundle = audit.log / "tile/entries/000.p/41"
    bundle.write_bytes(bundle.read_bytes().replace(b'"comply"', b'"violat"', 1))
    altered = run("verify")
    assert altered.exit_code == 1
    assert "does NOT hold" in altered.stdout
    assert json.loads(run("verify", "--json").stdout)["holds"] is False


def test_a_receipt_and_its_proof_are_verified_without_the_log(
    tmp_path: Path, run: Run, audit: AuditDirectory, receipt: SignedReceipt
) -> None:
    proof = saved(tmp_path / "r.tlog-proof", run("prove", receipt.receipt_id).stdout)
    document = saved(tmp_path / "receipt.json", receipt.entry)
    key = SigningKey.load(audit.signing_key).public
    pem = saved(tmp_path / "key.pem", key.pem())
    vkey = str(VerifierKey(DEFAULT_ORIGIN, key))

    for trusted in (pem, vkey):
        elsewhere = CliRunner().invoke(
            app,
            ["verify", "--receipt", str(document), "--proof", str(proof), "--public-key", str(trusted), "--json",
             "--state-dir", str(tmp_path / "nowhere")],
        )  # fmt: skip
        assert elsewhere.exit_code == 0, elsewhere.output
        assert json.loads(elsewhere.stdout)["leaf_hash"] == receipt.leaf_hash
        assert json.loads(elsewhere.stdout)["size"] == 41

    forged = saved(tmp_path / "forged.json", receipt.entry.replace(b"comply", b"violate"))
    assert run("verify", "--receipt", forged).exit_code == 1
    other = str(VerifierKey(DEFAULT_ORIGIN, SigningKey.generate().public))
    assert run("verify", "--receipt", document, "--public-key", other).exit_code == 1


def test_a_proof_of_another_entry_does_not_hold(tmp_path: Path, run: Run, receipt: SignedReceipt) -> None:
    document = saved(tmp_path / "receipt.json", receipt.entry)
    proof = saved(tmp_path / "other.tlog-proof", run("prove", "3").stdout)
    assert run("verify", "--receipt", document, "--proof", proof).exit_code == 1


def test_an_entry_is_proven_by_id_by_leaf_hash_and_by_index(run: Run, receipt: SignedReceipt) -> None:
    proofs = [json.loads(run("prove", name, "--json").stdout) for name in (receipt.receipt_id, receipt.leaf_hash, "17")]
    assert proofs[0] == proofs[1] == proofs[2]
    assert (proofs[0]["index"], proofs[0]["leaf_hash"]) == (17, receipt.leaf_hash)
    with pytest.raises(InvalidInputError, match="no such entry"):
        run("prove", "unknown")


def test_a_log_cut_back_is_found_by_a_checkpoint_saved_elsewhere(
    tmp_path: Path, audit: AuditDirectory, run: Run, receipt: SignedReceipt
) -> None:
    older = saved(tmp_path / "older", json.loads(run("show", "--json").stdout)["checkpoint"])
    with Journal(audit.journals, "replica-2") as journal:
        journal.append(Event(kind="release.promoted", actor="ci", subject="guard").entry())
    run("sequence")
    newer = saved(tmp_path / "newer", json.loads(run("show", "--json").stdout)["checkpoint"])
    grown = run("verify", "--from", older, "--to", newer, "--json")
    assert (grown.exit_code, json.loads(grown.stdout)) == (0, {"holds": True, "from_size": 41, "to_size": 42})
    shrunk = run("verify", "--from", newer, "--to", older, "--json")
    assert shrunk.exit_code == 1
    assert "shrank" in json.loads(shrunk.stdout)["faults"][0]


def test_exported_lines_hash_to_their_leaves(run: Run, receipt: SignedReceipt) -> None:
    plain = run("export").stdout_bytes.splitlines()
    named = [json.loads(line) for line in run("export", "--json").stdout.splitlines()]
    assert len(plain) == 41
    assert [sha256(b"\x00" + line).hexdigest() for line in plain] == [line["leaf_hash"] for line in named]
    assert plain[17] == receipt.entry
    assert named[17]["entry"] == receipt.fields
    [event] = run("export", "--type", "event", "--start", 5).stdout_bytes.splitlines()
    assert json.loads(event)["kind"] == "release.promoted"


def test_show_gives_what_is_to_be_kept_elsewhere(audit: AuditDirectory, run: Run, receipt: SignedReceipt) -> None:
    shown = json.loads(run("show", "--json").stdout)
    key = VerifierKey(DEFAULT_ORIGIN, SigningKey.load(audit.signing_key).public)
    assert (shown["origin"], shown["size"], shown["public_keys"]) == (DEFAULT_ORIGIN, 41, [str(key)])
    assert shown["checkpoint"].startswith(f"{DEFAULT_ORIGIN}\n41\n")
    assert "41" in run("show").stdout


@pytest.mark.parametrize("command", ["verify", "show", "export"])
def test_where_nothing_was_sequenced_there_is_no_log_to_hold(run: Run, command: str) -> None:
    with pytest.raises(UnavailableError, match="no audit log yet"):
        run(command)


def test_input_that_cannot_be_used_is_an_error_and_no_verdict(tmp_path: Path, run: Run, receipt: SignedReceipt) -> None:
    for arguments in (
        ["--to", tmp_path / "x"],
        ["--proof", tmp_path / "x"],
        ["--receipt", tmp_path / "absent.json"],
        ["--receipt", saved(tmp_path / "broken.json", "{}")],
        ["--public-key", "garbage"],
    ):
        with pytest.raises(InvalidInputError):
            run("verify", *arguments)
    with pytest.raises(InvalidInputError):
        run("export", "--type", "other")


def test_events_are_shown_by_what_is_asked_and_an_index_can_be_proven(
    audit: AuditDirectory, run: Run, receipt: SignedReceipt
) -> None:
    with Journal(audit.journals, "registry-1") as journal:
        for kind in ("release.started", "release.promoted"):
            journal.append(Event(kind=kind, actor="olga", subject="triage@1.0.0", details={"n": 1}).entry())
    run("sequence")
    shown = json.loads(run("events", "--model", "triage", "--json").output)
    assert [(e["index"], e["kind"], e["actor"]) for e in shown] == [
        (41, "release.started", "olga"),
        (42, "release.promoted", "olga"),
    ]
    latest = json.loads(run("events", "--kind", "release", "--limit", "1", "--json").output)
    assert [e["index"] for e in latest] == [42]
    assert "3 events in a log of 43 entries" in run("events").output
    assert json.loads(run("events", "--since", "2999-01-01", "--json").output) == []
    assert run("prove", shown[0]["index"]).exit_code == 0
    with pytest.raises(InvalidInputError):
        run("events", "--until", "tomorrow")


def test_the_signing_key_is_replaced_and_what_it_signed_still_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from acgs.cli.main import run as acgs

    def said(*words: str) -> Any:
        capsys.readouterr()
        assert acgs([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.json").write_text("[1]")
    said("registry", "create", "triage", str(tmp_path / "model"), "--no-git")
    (first,) = said("audit", "keys")
    told = said("audit", "rotate-key")
    assert told["retired"] == first["key_id"]
    second, retired = said("audit", "keys")
    assert (second["key_id"], retired["key_id"]) == (told["key_id"], first["key_id"])
    assert (retired["log_size"], second["since"]) == (str(told["log_size"]), retired["until"])
    assert [check["holds"] for check in said("registry", "verify")] == [True]
    assert said("audit", "verify")["holds"]
    said("registry", "create", "triage", str(tmp_path / "model"), "--no-git")
    assert [check["holds"] for check in said("registry", "verify")] == [True, True]
