"""The whole training on a few hundred texts: the bundle it makes is poor, but every stage really runs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from acgs.audit.keys import SigningKey
from acgs.constitution.canonical import digest, label_of
from acgs.constitution.lock import LockedConstitution
from acgs.governance.bundle import SECOND_TIER, load_bundle
from acgs.governance.decision import COMPREHENSIVE, Governor
from acgs.policy.judge import RuleJudge, open_engine

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="the extra 'train' is not installed")


@pytest.fixture(scope="module")
def lenient(constitution: LockedConstitution) -> LockedConstitution:
    """The shipped constitution with thresholds that even a guard trained on little can reach."""
    document = constitution.document
    domains = {
        name: profile.model_copy(update={"confidence_threshold": 0.3}) for name, profile in document.domains.items()
    }
    thresholds = document.thresholds.model_copy(update={"out_of_bag_error": 0.49})
    changed = document.model_copy(update={"domains": domains, "thresholds": thresholds})
    return LockedConstitution(changed, digest(changed), label_of(digest(changed)))


@pytest.fixture(scope="module")
def trained(
    lenient: LockedConstitution, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], Path]:
    from acgs.learning.guard.adapter import AdapterConfig
    from acgs.learning.guard.pipeline import GuardConfig, GuardTraining
    from acgs.learning.guard.student import StudentConfig

    config = GuardConfig(
        folds=2,
        phrases=1500,
        adapter_phrases=100,
        dialogue_sentences=50,
        exchanged_texts=100,
        sets=("surge_toxicity",),
        adapter=AdapterConfig(rank=4, epochs=3),
        student=StudentConfig(width=16, filters=8, hidden=16, epochs=12),
    )
    folder = tmp_path_factory.mktemp("guard")
    lines: list[str] = []
    for output in ("first", "second"):
        training = GuardTraining(lenient, shared_data, folder / "work", config, lines.append)
        training.run(folder / output, SigningKey.load_or_create(folder / "key.pem"))
    return folder / "first", lines, folder / "second"


def test_the_trained_bundle_loads_and_decides(
    trained: tuple[Path, list[str], Path], lenient: LockedConstitution
) -> None:
    bundle = load_bundle(lenient, trained[0])
    governor = Governor(lenient, bundle, RuleJudge(lenient, open_engine("clauses", lenient)), {})
    assert governor.decide("How do I bake bread?").final_decision in {"comply", "violate", "uncertain"}
    assert bundle.manifest.metrics["scenarios"] > 1000
    assert "surge_toxicity" in (trained[0] / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_second_run_takes_finished_stages_and_makes_the_same_bundle(trained: tuple[Path, list[str], Path]) -> None:
    first, lines, second = trained
    assert any(line.endswith("taken from an earlier run") for line in lines)
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


def test_the_second_tier_scores_with_the_trained_adapter(
    trained: tuple[Path, list[str], Path], lenient: LockedConstitution
) -> None:
    from acgs.governance.second_tier import SecondTier

    bundle = load_bundle(lenient, trained[0])
    tier = SecondTier((trained[0] / SECOND_TIER).read_bytes())
    kind = ["How do I bake bread?", "Thank you, that was lovely.", "We walked by the river.", "What a kind letter."]
    nasty = ["You are worthless trash and I hate you.", "Shut up, you stupid idiot.", "These disgusting people should "
             "all die.", "Go to hell, you pathetic loser."]  # fmt: skip
    texts = kind + nasty
    together, apart = tier.logits(texts), np.concatenate([tier.logits([text]) for text in texts])
    assert together.shape == (8, len(bundle.manifest.heads))
    np.testing.assert_allclose(together, apart, atol=1e-3)
    governor = Governor(lenient, bundle, RuleJudge(lenient, open_engine("clauses", lenient)), {})
    scores = [governor.text_score(row, COMPREHENSIVE) for row in together]
    # So little training tells them apart on the whole, not each from each.
    assert np.mean(scores[:4]) < np.mean(scores[4:])


def test_the_average_of_adapters_changes_each_weight_by_the_mean_of_their_changes() -> None:
    import torch
    from safetensors.torch import load, save

    from acgs.learning.guard.adapter import average_adapters

    torch.manual_seed(0)
    made = [{"a.up": torch.randn(6, 2), "a.down": torch.randn(2, 5), "head.bias": torch.randn(3)} for _ in range(3)]
    averaged = load(average_adapters([save({k: v.half() for k, v in one.items()}) for one in made]))
    expected = torch.stack([one["a.up"] @ one["a.down"] for one in made]).mean(0)
    torch.testing.assert_close(averaged["a.up"].float() @ averaged["a.down"].float(), expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(
        averaged["head.bias"].float(), torch.stack([one["head.bias"] for one in made]).mean(0), atol=0.01, rtol=0.01
    )
