from __future__ import annotations

import numpy as np
import pytest

from acgs.retrieval.router.outputs import FALLS, RISES
from acgs.retrieval.router.teacher import fit, out_of_fold

pytest.importorskip("lightgbm")


@pytest.mark.parametrize("sign", [RISES, FALLS])
def test_the_teacher_keeps_its_direction_against_the_data(sign: int) -> None:
    """The target waves and, on the whole, runs the other way."""
    rng = np.random.default_rng(1)
    features = rng.uniform(0, 1, (1500, 3))
    target = np.sin(9 * features[:, 0]) - sign * features[:, 0] + features[:, 1] + rng.normal(0, 0.1, 1500)
    model = fit(features, target, [sign, 0, 0], seed=1, rounds=100)
    lines = np.linspace(0, 1, 200)
    for others in rng.uniform(0, 1, (50, 2)):
        steps = np.diff(model.predict(np.column_stack([lines, np.tile(others, (200, 1))])))
        assert (sign * steps >= 0).all()
    free = fit(features, target, [0, 0, 0], seed=1, rounds=100)
    steps = np.diff(free.predict(np.column_stack([lines, np.full((200, 2), 0.5)])))
    assert (sign * steps < 0).any()


def test_noise_alone_teaches_next_to_nothing() -> None:
    rng = np.random.default_rng(2)
    features, target = rng.normal(0, 1, (600, 8)), rng.normal(0, 1, 600)
    predicted = out_of_fold(features, target, np.arange(600) % 5, [0] * 8, seed=1)
    assert predicted.std() < 0.25


def test_what_depends_on_the_features_is_learned() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(0, 1, (1000, 4))
    truth = np.tanh(features[:, 0]) + 0.5 * features[:, 1]
    predicted = out_of_fold(features, truth + rng.normal(0, 0.5, 1000), np.arange(1000) % 5, [RISES, 0, 0, 0], seed=1)
    assert np.corrcoef(predicted, truth)[0, 1] > 0.93
