from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from acgs.errors import InvalidInputError
from acgs.learning.data.dataset import Dataset, DatasetWriter
from acgs.learning.revision.chain import Chain
from acgs.learning.revision.export import PREFERENCES, SFT, export, pair_records
from acgs.learning.revision.loop import LoopSettings
from acgs.learning.revision.run import CHAINS, read_chains, revise_dataset

from .conftest import Loop, Scripted, record

ROWS = 60


def _repair(request: str, response: str) -> str:
    return response.replace("bad", "fine", 1) if "Rewrite" in request else "It is bad."


def _dataset(place: Path, *, split: bool = False) -> Dataset:
    with DatasetWriter(place) as writer:
        for number in range(ROWS):
            first, second = (("good", "good"), ("bad", "good"), ("bad", "bad"))[number % 3]
            text = f"A {first} thing number {number}. And a {second} thing besides."
            item = record(f"r{number}", text, user=f"u{number}")
            writer.add(item, ("train", "test")[number >= ROWS // 2] if split else None)
        writer.finish(parents=[], origins=["a" * 64], operations=[])
    return Dataset(place)


def _told(output: Path) -> list[dict[str, Any]]:
    """The chains without their timings."""

    def without(chain: Chain) -> dict[str, Any]:
        told = chain.model_dump(mode="json", exclude={"seconds"})
        told["rounds"] = [{**step, "seconds": 0} for step in told["rounds"]]
        return told

    return [without(chain) for chain in read_chains(output)]


def test_a_run_that_was_interrupted_and_went_on_equals_one_that_was_not(tmp_path: Path, make_loop: Loop) -> None:
    dataset = _dataset(tmp_path / "set")
    assert revise_dataset(dataset, tmp_path / "whole", make_loop(Scripted(_repair)))
    for length in (7, 1000, 3001):
        assert revise_dataset(dataset, tmp_path / "torn", make_loop(Scripted(_repair)), batch=5)
        os.truncate(tmp_path / "torn" / CHAINS, length)
        assert revise_dataset(dataset, tmp_path / "torn", make_loop(Scripted(_repair)), batch=7)
        assert _told(tmp_path / "torn") == _told(tmp_path / "whole")


def test_a_stop_leaves_whole_batches(tmp_path: Path, make_loop: Loop) -> None:
    dataset = _dataset(tmp_path / "set")
    asked = iter([False, False, True])
    done = revise_dataset(dataset, tmp_path / "out", make_loop(Scripted(_repair)), batch=4, stop=lambda: next(asked))
    assert not done
    assert len(_told(tmp_path / "out")) == 8


def test_other_settings_do_not_go_on_with_the_same_file(tmp_path: Path, make_loop: Loop) -> None:
    dataset = _dataset(tmp_path / "set")
    revise_dataset(dataset, tmp_path / "out", make_loop(Scripted(_repair)))
    with pytest.raises(InvalidInputError, match="settings_digest"):
        revise_dataset(dataset, tmp_path / "out", make_loop(Scripted(_repair), seed=1))


def test_what_cannot_be_judged_is_named_and_what_was_done_before_stays(tmp_path: Path, make_loop: Loop) -> None:
    def too_long(request: str, response: str) -> str:
        if "number 40" in response:
            raise InvalidInputError("a conversation is too long", field="max_new_tokens")
        return _repair(request, response)

    with pytest.raises(InvalidInputError, match="rows 37 to 42: a conversation is too long"):
        revise_dataset(_dataset(tmp_path / "set"), tmp_path / "out", make_loop(Scripted(too_long)), batch=6)
    assert len(_told(tmp_path / "out")) == 36


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from conftest import Scripted, WordJudge
from acgs.constitution.source import load_locked
from acgs.learning.data.dataset import Dataset
from acgs.learning.revision.loop import LoopSettings, RevisionLoop
from acgs.learning.revision.reviser import PromptedReviser
from acgs.learning.revision.run import revise_dataset

def slow(request, response):
    time.sleep(0.02)
    return response.replace("bad", "fine", 1) if "Rewrite" in request else "It is bad."

law = load_locked()
loop = RevisionLoop(
    critic=WordJudge("bad", "critic"), evaluator=WordJudge("bad", "evaluator"),
    reviser=PromptedReviser(Scripted(slow), law.document, LoopSettings().sampling),
    constitution_digest=law.digest, settings=LoopSettings(),
)
revise_dataset(Dataset(Path(sys.argv[1])), Path(sys.argv[2]), loop, batch=2)
"""


def test_a_killed_run_goes_on_without_a_lost_or_repeated_row(tmp_path: Path, make_loop: Loop) -> None:
    dataset, output = _dataset(tmp_path / "set"), tmp_path / "out"
    arguments = [str(tmp_path / "set"), str(output), str(Path(__file__).parent)]
    for wanted in (4, 20):
        with subprocess.Popen([sys.executable, "-c", KILLED, *arguments]) as process:
            while process.poll() is None and _rows(output) < wanted:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert wanted <= _rows(output) < ROWS
    assert revise_dataset(dataset, output, make_loop(Scripted(_repair)))
    assert revise_dataset(dataset, tmp_path / "whole", make_loop(Scripted(_repair)))
    assert _told(output) == _told(tmp_path / "whole")


def _rows(output: Path) -> int:
    path = output / CHAINS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_halves_share_no_row_and_carry_the_origins(tmp_path: Path, make_loop: Loop) -> None:
    dataset, output = _dataset(tmp_path / "set"), tmp_path / "out"
    revise_dataset(dataset, output, make_loop(Scripted(_repair)))
    done = export(output, dataset, LoopSettings(), division="halves")
    answers, pairs = Dataset(output / SFT), Dataset(output / PREFERENCES)
    first, second = ({item.id for item in items} for items in (answers.records(), pair_records(pairs)))
    assert (len(first), len(second)) == (done.answers, done.pairs) == (30, 20)
    assert not first & second
    assert answers.manifest.origins == pairs.manifest.origins == dataset.manifest.origins
    assert not any("bad" in item.contents for item in answers.records())


def test_splits_stay_apart_and_an_export_can_be_done_again(tmp_path: Path, make_loop: Loop) -> None:
    dataset, output = _dataset(tmp_path / "set", split=True), tmp_path / "out"
    revise_dataset(dataset, output, make_loop(Scripted(_repair)))
    for _ in range(2):
        export(output, dataset, LoopSettings())
    for split in ("train", "test"):
        wanted = {item.id for item in dataset.records(split)}
        assert {item.id for item in Dataset(output / SFT).records(split)} == wanted
        lines = (output / PREFERENCES / f"{split}.jsonl").read_bytes().splitlines()
        assert {orjson.loads(line)["id"] for line in lines} < wanted


def test_refusals_above_the_cap_are_left_out(tmp_path: Path, make_loop: Loop) -> None:
    def often(request: str, response: str) -> str:
        return "I cannot help with any of this, sorry." if response.count("bad") == 2 else _repair(request, response)

    dataset, output = _dataset(tmp_path / "set"), tmp_path / "out"
    revise_dataset(dataset, output, make_loop(Scripted(often)))
    done = export(output, dataset, LoopSettings(), refusal_cap=0.2)
    assert (done.pairs, done.refusals_left_out) == (25, 15)
