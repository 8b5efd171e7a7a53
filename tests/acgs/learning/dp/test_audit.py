from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.learning.dp.audit import audit_canaries, epsilon_lower_bound, p_value

CANARIES = 256
GUESSES = 64
"""On each side, fixed before scores are seen."""
STEPS = 20
NOISE = 8.0
DELTA = 1e-5


def test_all_guesses_right_gives_the_bound_of_randomised_response() -> None:
    """Pure DP: n right guesses have probability accuracy^n, so the bound is the logit of 0.05^(1/n)."""
    accuracy = 0.05 ** (1 / 100)
    bound = epsilon_lower_bound(100, 100, 100, delta=0.0, significance=0.05)
    assert bound == pytest.approx(log(accuracy / (1 - accuracy)), rel=1e-6)


def test_coin_flips_prove_nothing() -> None:
    assert epsilon_lower_bound(1_000, 500, 250, delta=0.0, significance=0.05) == 0.0


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.data())
def test_more_right_guesses_prove_more_and_delta_proves_less(guesses: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(1, guesses))
    epsilon = data.draw(st.floats(0, 5))
    delta = data.draw(st.floats(0, 1e-2))
    here = p_value(guesses, guesses, correct, epsilon=epsilon, delta=delta)
    assert 0 <= here <= 1
    assert here >= p_value(guesses, guesses, correct, epsilon=epsilon, delta=0.0)
    assert p_value(guesses, guesses, correct, epsilon=epsilon + 0.5, delta=0.0) >= p_value(
        guesses, guesses, correct, epsilon=epsilon, delta=0.0
    )
    if correct < guesses:
        more = epsilon_lower_bound(guesses, guesses, correct + 1, delta=delta, significance=0.05)
        assert more >= epsilon_lower_bound(guesses, guesses, correct, delta=delta, significance=0.05)


def test_the_bound_holds_for_randomised_response_at_its_confidence() -> None:
    """Randomised response at epsilon 1 is the worst case: the bound exceeds 1 in at most about 5 % of audits."""
    rng = np.random.default_rng(0)
    audits, epsilon = 400, 1.0
    accuracy = 1 / (1 + exp(-epsilon))
    correct = rng.binomial(200, accuracy, size=audits)
    bounds = [epsilon_lower_bound(200, 200, int(count), delta=0.0, significance=0.05) for count in correct]
    assert np.mean(np.array(bounds) > epsilon) <= 0.05 + 3 * (0.05 * 0.95 / audits) ** 0.5
    assert np.median(bounds) > 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"guesses_in": 0, "guesses_out": 0},
        {"guesses_in": 3, "guesses_out": 3},
        {"guesses_in": -1},
        {"delta": 1.0},
        {"confidence": 0.0},
        {"scores": np.array([1.0, np.nan, 0.0, 2.0])},
        {"included": np.array([True])},
    ],
    ids=str,
)
def test_an_audit_that_says_nothing_is_refused(change: dict[str, Any]) -> None:
    sound = {
        "scores": np.arange(4.0),
        "included": np.array([False, False, True, True]),
        "guesses_in": 1,
        "guesses_out": 1,
        "delta": 0.0,
    }
    assert audit_canaries(**sound).correct == 2
    with pytest.raises(InvalidInputError):
        audit_canaries(**{**sound, **change})


def _trained_scores(included: np.ndarray, noise: Any = None) -> np.ndarray:
    """Canary i pulls weight i of a linear model; the attacker sees the trained weights."""
    import torch

    from acgs.learning.dp.engine import PrivateGradients
    from acgs.learning.dp.sampling import PoissonSampler

    model = torch.nn.Linear(CANARIES, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    private = PrivateGradients(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        noise_multiplier=NOISE,
        max_grad_norm=1.0,
        expected_batch_size=CANARIES // 2,
        physical_batch_size=CANARIES,
        noise=noise,
    )
    canaries = 100 * torch.eye(CANARIES)
    for indices in PoissonSampler(population=CANARIES, expected_batch_size=CANARIES // 2, steps=STEPS):
        private.backward(-model(canaries[[index for index in indices if included[index]]]).squeeze(1))
        private.step()
    return model.weight.detach().flatten().double().numpy()


def _claimed() -> float:
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(NOISE, 0.5, STEPS)]
    return float(accountant.get_epsilon(DELTA))


def _audit(noise: Any = None) -> float:
    included = np.random.default_rng().random(CANARIES) < 0.5
    scores = _trained_scores(included, noise)
    result = audit_canaries(scores, included, guesses_in=GUESSES, guesses_out=GUESSES, delta=DELTA)
    assert result.guesses == 2 * GUESSES
    return result.epsilon_lower


def test_an_audit_of_sound_training_stays_below_the_claim() -> None:
    """The claim is 1.2; 200 such audits proved 0.1 on average and 0.6 at most."""
    assert _audit() <= _claimed()


def test_an_audit_refutes_a_build_without_noise() -> None:
    class Silence:
        def add_normal(self, target: Any, deviation: float) -> None:
            pass

    assert _audit(Silence()) > _claimed()


def test_an_audit_refutes_a_build_without_clipping(monkeypatch: pytest.MonkeyPatch) -> None:
    from acgs.learning.dp import factored

    monkeypatch.setattr(factored, "clip_weights", lambda squared, _bound: squared.new_ones(len(squared)))
    assert _audit() > _claimed()
