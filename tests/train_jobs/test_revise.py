"""The revision job: the answers of one actor, of two of which one is killed, and of this process are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.cli.revision import run_revision
from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError, UnavailableError
from acgs.governance.scenarios.generator import generate
from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Message, Record
from acgs.learning.data.responses import responses_of
from tests.processes import below
from train_jobs.revise import main

ROWS = 16
PATIENCE_SECONDS = 300
ORIGIN = "e" * 64
RUNS = """
import sys
from train_jobs.revise import main
for config, output in zip(sys.argv[1::2], sys.argv[2::2]):
    code = main(["--config", config, "--output", output, "--json"])
    if code:
        sys.exit(code)
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, constitution: LockedConstitution) -> dict[str, Any]:
    """Settings of a run on responses of which some breach, with a tiny model of random weights."""
    from acgs.learning.finetune.base_models import make_tiny, save_base
    from acgs.learning.finetune.config import TinyModel

    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    scenarios = list(generate(constitution.document, 1500, 3))
    with DatasetWriter(tmp_path / "set") as writer:
        for record in islice(responses_of(scenarios, 0), ROWS):
            writer.add(record)
        good = (Message(role="user", content="How is bread made?"), Message(role="assistant", content="With flour."))
        writer.add(Record(id="good", messages=good, source="test"))
        writer.finish(
            parents=[Parent(name="made", digest=ORIGIN)], origins=[ORIGIN], operations=[Operation(name="made")]
        )
    (tmp_path / "corpus.txt").write_text("\n".join(scenario.query for scenario in scenarios[:200]), encoding="utf-8")
    tiny = TinyModel(corpus=tmp_path / "corpus.txt", hidden_size=32, layers=2, heads=2, vocabulary=400, context=4096)
    save_base(make_tiny(tiny), tmp_path / "model")
    return {
        "data": str(tmp_path / "set"), "generator": f"hf:{tmp_path / 'model'}", "rounds": 2, "max_new_tokens": 8,
        "temperature": 1.0, "seed": 5,
    }  # fmt: skip


def _words(folder: Path, name: str, config: dict[str, Any], **changes: Any) -> list[str]:
    """A run file, and the output of the run."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**config, **changes}), encoding="utf-8")
    return [str(path), str(folder / name)]


def _chains(output: Path) -> list[dict[str, Any]]:
    """All that is in the chains but how long they took."""
    found = [json.loads(line) for line in (output / "chains.jsonl").read_text().splitlines()]
    for chain in found:
        del chain["seconds"]
        for step in chain["rounds"]:
            del step["seconds"]
    return found


def test_the_number_of_actors_and_the_death_of_one_change_no_answer(config: dict[str, Any], tmp_path: Path) -> None:
    from acgs.learning.revision.config import RevisionConfig
    from acgs.learning.revision.hf import HuggingFaceGenerator

    one, two = tmp_path / "one", tmp_path / "two"
    words = _words(tmp_path, "one", config, actors={"count": 1}) + _words(tmp_path, "two", config, actors={"count": 2})
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (tmp_path / "log").open("wb") as log:
        job = subprocess.Popen([sys.executable, "-c", RUNS, *words], stdout=log, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        killed = False
        while job.poll() is None and time.monotonic() < deadline and not killed:
            time.sleep(0.02)
            busy = below(job, "ray::ModelActor.complete") if (one / "report.json").exists() else []
            if len(busy) == 2:
                busy[1].kill()
                killed = True
        assert job.wait(timeout=PATIENCE_SECONDS) == 0, (tmp_path / "log").read_text()[-3000:]
        assert killed, "the second run ended before an actor could be killed"
    finally:
        job.terminate()
        job.wait(timeout=60)
    chains = _chains(one)
    assert len(chains) == ROWS + 1
    assert sum(len(chain["rounds"]) for chain in chains) >= ROWS / 3, "the model was hardly asked"
    assert _chains(two) == chains

    # A run that stopped half-way goes on with another number of copies: here with one, in this process.
    whole = (one / "chains.jsonl").read_bytes().splitlines(keepends=True)
    part = tmp_path / "part"
    part.mkdir()
    (part / "chains.jsonl").write_bytes(b"".join(whole[: ROWS // 2]))
    run_revision(
        RevisionConfig.model_validate({**config, "actors": {"count": 1}}), part, as_json=True,
        open_model=lambda choice: HuggingFaceGenerator.load(choice.name.removeprefix("hf:")),
    )  # fmt: skip
    assert [chain["id"] for chain in _chains(part)] == [chain["id"] for chain in chains]
    assert _chains(part)[: ROWS // 2] == chains[: ROWS // 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": "retrieval"}, "name the generator hf:"),
        ({"actors": {"count": 0}}, "actors.count"),
        ({"actors": None}, "asks for no actors"),
        ({"rounds": 11}, "rounds"),
        ({"surprise": 1}, "surprise"),
        ({"data": "nowhere"}, "no data set"),
    ],
)
def test_what_cannot_be_run_is_refused_before_a_cluster_is_asked(
    config: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**config, "actors": {"count": 1}, **changes}), encoding="utf-8")
    assert main(["--config", str(path), "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cluster_without_room_is_refused_by_what_it_lacks() -> None:
    from acgs.cli.connection import require_resources

    require_resources("2 actors", {"CPU": 2.0, "GPU": 0.0}, {"CPU": 2.0}, field="actors")
    with pytest.raises(InvalidInputError, match="4 actors need 2 GPU, the cluster has 1"):
        require_resources("4 actors", {"CPU": 4.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}, field="actors")


def test_what_a_model_says_in_its_actor_is_said_by_the_run() -> None:
    import pickle

    from ray.exceptions import ActorDiedError, RayTaskError

    from train_jobs.generator_actors import in_own_words

    travelled = pickle.loads(pickle.dumps(InvalidInputError("leaves no room", field="max_new_tokens")))
    own = in_own_words(RayTaskError("complete", "traceback", travelled).as_instanceof_cause())
    assert isinstance(own, InvalidInputError)
    assert (own.message, own.field) == ("leaves no room", "max_new_tokens")
    foreign = in_own_words(RayTaskError("complete", "traceback", RuntimeError("text")).as_instanceof_cause())
    assert isinstance(foreign, UnavailableError)
    assert "text" not in foreign.message, "it may hold what a record says"
    assert "run it again" in in_own_words(ActorDiedError()).message
