from __future__ import annotations

import pytest

from acgs.errors import InvalidInputError
from acgs.learning.revision.opening import GeneratorChoice, open_generator


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        (GeneratorChoice("gpt"), "generator"),
        (GeneratorChoice("http://localhost:8000/v1"), "model"),
        (GeneratorChoice("http://localhost:8000/v1", model="m", key_variable="NO_SUCH_VARIABLE_HERE"), "key_variable"),
    ],
)
def test_a_choice_that_names_no_generator_is_refused(choice: GeneratorChoice, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_generator(choice)
    assert caught.value.field == field


def test_an_endpoint_is_named_by_its_model() -> None:
    assert open_generator(GeneratorChoice("http://localhost:8000/v1", model="m")).identity == "openai:m"
