from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.retrieval.configuration import (
    FirstStage,
    Gate,
    RetrievalConfiguration,
    Route,
    load_configuration,
    parse_configuration,
    write_configuration,
)

CONFIGURATIONS = st.builds(
    RetrievalConfiguration,
    first_stage=st.builds(FirstStage, tau=st.floats(0, 1), topk=st.integers(10, 1000), ef=st.integers(10, 4096)),
    route=st.sampled_from(Route),
    gate=st.none() | st.builds(Gate, theta_star=st.floats(-1, 1), delta=st.floats(0, 1)),
)


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_the_version_names_the_content(first: RetrievalConfiguration, second: RetrievalConfiguration) -> None:
    assert parse_configuration(first.model_dump_json().encode()) == first
    assert (first.version == second.version) == (first == second)
    assert len(first.version) == 16


def test_a_configuration_comes_back_as_it_was_written(tmp_path: Path) -> None:
    configuration = RetrievalConfiguration(gate=Gate(theta_star=0.1, delta=0.02))
    write_configuration(configuration, tmp_path / "configuration.json")
    assert load_configuration(tmp_path / "configuration.json") == configuration


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_a_higher_gain_never_buys_less(gain: float, other: float, delta: float, theta: float) -> None:
    order = [Route.FUSED, Route.CHEAP, Route.FULL]
    low, high = sorted((gain, other))
    gate = Gate(theta_star=theta, delta=delta)
    assert order.index(gate.route(low)) <= order.index(gate.route(high))
    assert gate.route(theta) is Route.FULL


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "configuration"),
        (b"[]", "configuration"),
        (b'{"route": "fast"}', "route"),
        (b'{"unknown": 1}', "unknown"),
        (b'{"first_stage": {"tau": 1.5}}', "first_stage.tau"),
        (b'{"first_stage": {"topk": 0}}', "first_stage.topk"),
        (b'{"gate": {"theta_star": 0.1, "delta": -1}}', "gate.delta"),
        (b'{"rerankers": {"cheap": {"fused": 1}, "full": {}}}', "rerankers"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(content: bytes, field: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        parse_configuration(content)
    assert refusal.value.field == field


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot read"):
        load_configuration(tmp_path / "nowhere.json")


@pytest.mark.parametrize("text", ["NaN", "Infinity"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_configuration(f'{{"gate": {{"theta_star": {text}, "delta": 0}}}}'.encode())
