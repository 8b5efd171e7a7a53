from __future__ import annotations

import numpy as np
import pytest

from acgs.errors import AcgsError, InvalidInputError
from acgs.statistics.evidence import InsufficientDataError, sample, share


def test_a_sample_is_a_vector_of_finite_numbers() -> None:
    assert sample([1, 2], "values").dtype == np.float64
    for bad in ([[1.0]], [1.0, float("inf")], 3.0):
        with pytest.raises(InvalidInputError) as caught:
            sample(bad, "values")
        assert caught.value.field == "values"


def test_too_few_values_are_a_state_of_their_own() -> None:
    with pytest.raises(InsufficientDataError, match="holds 2 values and needs 3") as caught:
        sample([1.0, 2.0], "deltas", at_least=3)
    assert isinstance(caught.value, AcgsError)
    assert not isinstance(caught.value, InvalidInputError)
    assert (caught.value.code, caught.value.field) == ("insufficient_data", "deltas")


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_lies_strictly_between_0_and_1(value: float) -> None:
    assert share(0.5, "alpha") == 0.5
    with pytest.raises(InvalidInputError, match="alpha"):
        share(value, "alpha")
