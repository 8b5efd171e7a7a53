from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from acgs.cli.main import run

Calls = list[tuple[str, list[str], str | None]]


def test_actors_are_a_job_whose_file_has_every_option_and_whole_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: Calls
) -> None:
    from acgs.learning.finetune.config import load_settings
    from acgs.learning.revision.config import ActorSettings, RevisionConfig

    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    words = ["revise", "set", "--output", "out", "--generator", "hf:model", "--rounds", "2", "--seed", "9", "--json"]
    words += ["--actors", "4", "--cpus-per-actor", "2", "--gpus-per-actor", "0.5", "--address", "http://head:8265"]
    assert run(["data", *words]) == 0
    file = Path("out") / "revise.yaml"
    assert jobs == [("train_jobs.revise", ["--config", str(file), "--output", "out", "--json"], "http://head:8265")]
    config = load_settings(file, RevisionConfig)
    assert config == RevisionConfig(
        data=tmp_path / "set", generator=f"hf:{tmp_path / 'model'}", rounds=2, seed=9,
        actors=ActorSettings(count=4, cpus=2, gpus=0.5),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--actors", "2"], "hf:"),
        (["--address", "http://head:8265"], "--actors"),
        (["--generator", "http://x/v1", "--model", "m", "--actors", "2"], "hf:"),
    ],
)
def test_actors_for_what_is_no_model_here_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: Calls, options: list[str], message: str
) -> None:
    assert run(["data", "revise", str(tmp_path), "--output", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not jobs
    assert not (tmp_path / "out").exists()


def test_the_file_keeps_what_the_model_is_called_on_the_hub(jobs: Calls, tmp_path: Path) -> None:
    words = ["revise", str(tmp_path), "--output", str(tmp_path / "out"), "--generator", "hf:owner/name"]
    assert run(["data", *words, "--actors", "1"]) == 0
    assert yaml.safe_load((tmp_path / "out" / "revise.yaml").read_text())["generator"] == "hf:owner/name"
