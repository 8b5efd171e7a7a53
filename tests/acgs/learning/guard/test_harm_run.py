"""Whole runs on a small set: what is written, what is charged, what is refused."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.errors import ConstitutionMismatchError, IntegrityError, InvalidInputError, UnavailableError
from acgs.governance.harm_adapter import CARD, MANIFEST, WEIGHTS, load_harm_adapter

if TYPE_CHECKING:
    from acgs.learning.guard.harm_run import HarmConfig
    from acgs.privacy.sql_ledger import SqlLedger

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="the extra 'train' is not installed")


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def trained(
    posts: Path, quick: HarmConfig, constitution: LockedConstitution, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from acgs.learning.guard.harm_run import HarmRun
    from acgs.privacy.sql_ledger import SqlLedger
    from acgs.storage.engine import default_url, open_engine
    from acgs.storage.migrate import upgrade

    folder = tmp_path_factory.mktemp("trained")
    engine = open_engine(default_url(folder / "state"))
    upgrade(engine)
    HarmRun(constitution, posts, folder / "out", quick, SqlLedger(engine)).execute(lambda line: None)
    return folder / "out"


def test_the_adapter_tells_harm_and_carries_its_evidence(trained: Path, constitution: LockedConstitution) -> None:
    from acgs.governance.second_tier import SecondTier
    from acgs.learning.guard.harm_run import FROZEN, PLAIN, PRIVATE

    adapter = load_harm_adapter(constitution, trained)
    scores = SecondTier(adapter.weights).logits(["you lovely kind friend", "you worthless stupid trash"])
    assert scores.shape == (2, 1)
    assert scores[0, 0] < scores[1, 0]
    auroc = adapter.manifest.quality["auroc"]
    assert set(auroc) == {FROZEN, PLAIN, PRIVATE}
    assert auroc[PRIVATE]["pooled"]["value"] > 0.8
    assert 0 < adapter.manifest.privacy["epsilon"]["rdp"] <= 0.95 * 8 + 1e-6
    assert adapter.manifest.privacy["steps_settled"] == 8
    card = (trained / CARD).read_text(encoding="utf-8")
    assert "Epsilon of this run" in card
    assert "takes part in no decision" in card
    assert not (trained / "checkpoint.safetensors").exists()


def test_texts_are_scored_under_the_adapters_own_name(
    trained: Path,
    constitution: LockedConstitution,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from acgs.cli.main import run

    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ACGS_SECOND_TIER_ADAPTER", str(trained))
    texts = {"you lovely kind friend": 0, "a walk in the garden": 0, "you stupid trash": 1, "vile disgusting scum": 1}
    labelled = tmp_path / "labelled.jsonl"
    lines = (json.dumps({"text": text, "label": label}) for text, label in texts.items())
    labelled.write_text("\n".join(lines), encoding="utf-8")
    assert run(["governance", "score", "--input", str(labelled), "--tier", "adapter", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    adapter = load_harm_adapter(constitution, trained)
    assert found["adapter_version"] == adapter.version
    assert found["adapter_digest"].startswith(adapter.version.split("+")[1])
    assert found["tiers"]["adapter"]["overall"]["figures"]["auroc"]["value"] == 1.0


def test_an_adapter_of_another_constitution_is_refused(trained: Path, constitution: LockedConstitution) -> None:
    other = LockedConstitution(constitution.document, "0" * 64, "0" * 16)
    with pytest.raises(ConstitutionMismatchError, match="guard-adapter"):
        load_harm_adapter(other, trained)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_flipped_byte_is_refused(trained: Path, tmp_path: Path, constitution: LockedConstitution, name: str) -> None:
    for each in (WEIGHTS, MANIFEST):
        (tmp_path / each).write_bytes((trained / each).read_bytes())
    body = bytearray((tmp_path / name).read_bytes())
    body[0] ^= 1
    (tmp_path / name).write_bytes(body)
    with pytest.raises(IntegrityError):
        load_harm_adapter(constitution, tmp_path)


def test_a_folder_without_adapter_says_how_to_get_one(tmp_path: Path, constitution: LockedConstitution) -> None:
    with pytest.raises(UnavailableError, match="acgs train guard-adapter"):
        load_harm_adapter(constitution, tmp_path)


def test_an_interrupted_run_leaves_no_adapter_and_goes_on_with_the_steps_that_are_left(
    posts: Path, quick: HarmConfig, constitution: LockedConstitution, ledger: SqlLedger, tmp_path: Path
) -> None:
    from acgs.learning.guard.harm_run import HarmRun

    config = quick.model_copy(update={"compared": None, "private": quick.private.model_copy(update={"steps": 14})})

    def stop(line: str) -> None:
        if line.startswith("with privacy"):
            raise StoppedError

    with pytest.raises(StoppedError):
        HarmRun(constitution, posts, tmp_path / "out", config, ledger).execute(stop)
    run_id = json.loads((tmp_path / "out" / "run.json").read_bytes())["run_id"]
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert ledger.run(run_id).steps_spent == 10

    outcome = HarmRun(constitution, posts, tmp_path / "out", config, ledger).execute(lambda line: None)
    assert outcome.steps == 14
    assert outcome.statement.attempts == 2
    assert outcome.statement.steps_settled + outcome.statement.steps_unsettled == 14
    assert load_harm_adapter(constitution, tmp_path / "out").digest == outcome.digest

    again = HarmRun(constitution, posts, tmp_path / "other", config, ledger)
    with pytest.raises(InvalidInputError, match="nothing would be learned"):
        again.plan()


def test_a_folder_belongs_to_one_configuration(
    trained: Path, posts: Path, quick: HarmConfig, constitution: LockedConstitution, ledger: SqlLedger
) -> None:
    from acgs.learning.guard.harm_run import HarmRun

    assert HarmRun(constitution, posts, trained, quick, ledger).finished
    other = HarmRun(constitution, posts, trained, quick.model_copy(update={"name": "other"}), ledger)
    with pytest.raises(InvalidInputError, match="another run"):
        other.plan()


def test_what_the_model_scores_is_what_the_second_tier_scores() -> None:
    import torch

    from acgs.governance.second_tier import SecondTier
    from acgs.learning.guard.private_adapter import build_model
    from acgs.learning.guard.upper_layers import logits_of, lower_states

    texts = ["How do I bake bread?", "You are worthless trash, he said to all of them, and left without a word."]
    model = build_model(first=4, rank=2, dropout=0.0, seed=1, max_tokens=64)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.02)
    found = logits_of(model, lower_states(texts, first=4, max_tokens=64))
    np.testing.assert_allclose(SecondTier(model.export()).logits(texts)[:, 0], found, atol=2e-3)


def test_the_states_of_a_text_do_not_depend_on_its_company() -> None:
    import torch

    from acgs.learning.guard.upper_layers import lower_states

    text = "You are worthless trash."
    [alone] = lower_states([text], first=3, max_tokens=32)
    _, beside = lower_states(
        ["A much longer text that is about nothing but bread and water.", text], first=3, max_tokens=32
    )
    torch.testing.assert_close(alone, beside, atol=1e-4, rtol=1e-4)


def test_what_is_protected_cannot_be_the_public_text_of_the_warm_start() -> None:
    from acgs.learning.guard.harm_run import HarmConfig, WarmStart

    with pytest.raises(ValueError, match="surge_toxicity"):
        HarmConfig(sets=("surge_toxicity",), warm_start=WarmStart(sets=("surge_toxicity",)))
