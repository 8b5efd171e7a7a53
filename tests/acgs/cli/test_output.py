"""What commands write for people."""

from __future__ import annotations

import pytest

from acgs.cli.output import write_fields, write_table


def test_a_long_digest_or_key_is_never_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    digest = "".join(f"{n:04x}" for n in range(32))
    write_fields("model", {"facts_digest": digest, "a longer name of a field": "[bold]"})
    write_table("models", ("name", "digest"), [("triage", digest)])
    lines = capsys.readouterr().out.splitlines()
    cells = "".join(line.split("│")[2].strip() for line in lines if line.count("│") == 3)
    assert cells.count(digest) == 2
    assert "…" not in "".join(lines)
    assert "[bold]" in "".join(lines)
