from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.errors import AcgsError, IntegrityError, InvalidInputError
from acgs.retrieval.router.document import digest_of
from acgs.retrieval.router.fidelity import no_regret
from acgs.retrieval.router.outputs import OUTPUTS
from acgs.retrieval.router.router_file import load_router, read_router, write_router

if TYPE_CHECKING:
    from acgs.retrieval.router.distillation import Distillation

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path, distilled: Distillation) -> Path:
    file = tmp_path / "router.json"
    write_router(file, distilled, version="1.0.0", at=AT)
    return file


def test_a_router_predicts_from_its_file_what_it_predicted_before(path: Path, distilled: Distillation) -> None:
    rng = np.random.default_rng(1)
    queries = rng.uniform(-1, 20, (200, 4))
    before, after = distilled.router().predict(queries), load_router(path).predict(queries)
    assert all(map(np.array_equal, before, after))
    assert load_router(path).feature_names == distilled.feature_names


def test_the_file_says_what_was_promised_and_measured(path: Path, distilled: Distillation) -> None:
    compared = no_regret(np.zeros(1000))
    document = write_router(path, distilled, version="1.0.0", at=AT, no_regret=compared)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["model_type"] == "monotone_gbm_int8"
    assert written["monotone_constraints"] == {
        "tau_entropy": "increasing",
        "spend_entropy": "increasing",
        "gain_nl_confidence": "decreasing",
    }
    assert written["quantization"]["bits"] == 8
    assert written["performance_guarantees"]["no_regret"]["lower"] == compared.lower
    assert written["training_data_digest"] == distilled.data_digest
    assert read_router(path) == document
    tables = [table for output in OUTPUTS for table in written[f"{output}_segments"]["tables"].values()]
    entries = [entry for table in tables for entry in table]
    assert all(isinstance(entry, int) and -127 <= entry <= 127 for entry in entries)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
def test_a_flipped_digit_is_found(path: Path, data: st.DataObject) -> None:
    written = path.read_text(encoding="utf-8")
    places = [place for place, letter in enumerate(written) if letter.isdigit()]
    place = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != written[place]]))
    spoiled = path.with_name("spoiled.json")
    spoiled.write_text(written[:place] + other + written[place + 1 :], encoding="utf-8")
    if _same_numbers(written, spoiled.read_text(encoding="utf-8")):
        return  # the last digits of a float that rounds to the same float
    with pytest.raises(AcgsError):
        load_router(spoiled)


def _same_numbers(first: str, second: str) -> bool:
    try:
        return bool(json.loads(first) == json.loads(second))
    except ValueError:
        return False


def _signed(document: dict[str, Any]) -> dict[str, Any]:
    """With all digests made anew, as a faulty program would write it."""
    for output in OUTPUTS:
        document["quantization"][f"{output}_quantizer"]["model_checksum"] = digest_of(document[f"{output}_segments"])
    document.pop("digest")
    return {**document, "digest": digest_of(document)}


def _turned_back(document: dict[str, Any]) -> None:
    document["tau_segments"]["tables"]["entropy"].reverse()


def _one_step_back(document: dict[str, Any]) -> None:
    table = document["gain_segments"]["tables"]["nl_confidence"]
    table[8] = table[7] + 1


def _knots_out_of_order(document: dict[str, Any]) -> None:
    document["features"][0]["knots"].reverse()


def _entry_too_large(document: dict[str, Any]) -> None:
    document["tau_segments"]["tables"]["length"][0] = 128


def _entry_of_float(document: dict[str, Any]) -> None:
    document["tau_segments"]["tables"]["length"][0] = 1.0


def _table_missing(document: dict[str, Any]) -> None:
    document["spend_segments"]["tables"].pop("length")


def _entry_missing(document: dict[str, Any]) -> None:
    document["spend_segments"]["tables"]["length"].pop()


def _no_scale(document: dict[str, Any]) -> None:
    document["quantization"]["tau_quantizer"]["quantization_scale"] = 0.0


def _unknown_field(document: dict[str, Any]) -> None:
    document["owner"] = "Jane Doe"


def _constraint_on_nothing(document: dict[str, Any]) -> None:
    document["monotone_constraints"]["tau_colour"] = "increasing"


def _feature_twice(document: dict[str, Any]) -> None:
    document["features"].append(document["features"][0])


def _segments_miscounted(document: dict[str, Any]) -> None:
    document["tau_segments"]["n_segments"] += 1


def _empty_range(document: dict[str, Any]) -> None:
    document["tau_segments"]["range"].reverse()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_turned_back, "tau_entropy must be increasing"),
        (_one_step_back, "gain_nl_confidence must be decreasing, and 1 of its steps"),
        (_knots_out_of_order, "increase strictly"),
        (_entry_too_large, "less than or equal to 127"),
        (_entry_of_float, "valid integer"),
        (_table_missing, "one table a feature"),
        (_entry_missing, "one entry a knot"),
        (_no_scale, "greater than 0"),
        (_unknown_field, "owner"),
        (_constraint_on_nothing, "tau_colour"),
        (_feature_twice, "listed twice"),
        (_segments_miscounted, "n_segments"),
        (_empty_range, "range"),
    ],
)
def test_a_file_that_breaks_a_promise_is_not_loaded_even_with_the_right_digest(
    path: Path, spoil: Any, message: str
) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    spoil(document)
    path.write_text(json.dumps(_signed(document)), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message) as caught:
        load_router(path)
    assert "Jane" not in caught.value.message


def test_tables_that_do_not_match_their_checksum_are_not_loaded(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    document["tau_segments"]["anchor"] += 0.1
    document.pop("digest")
    path.write_text(json.dumps({**document, "digest": digest_of(document)}), encoding="utf-8")
    with pytest.raises(IntegrityError, match="checksum"):
        load_router(path)


def test_tables_that_break_a_constraint_are_not_written(tmp_path: Path, distilled: Distillation) -> None:
    tau = distilled.students["tau"]
    turned = dataclasses.replace(tau, tables=(tau.tables[0][::-1], *tau.tables[1:]))
    spoiled = dataclasses.replace(distilled, students={**distilled.students, "tau": turned})
    with pytest.raises(InvalidInputError, match="turn back"):
        write_router(tmp_path / "router.json", spoiled, version="1.0.0", at=AT)
    assert list(tmp_path.iterdir()) == []


def test_a_version_and_a_time_zone_are_needed(tmp_path: Path, distilled: Distillation) -> None:
    with pytest.raises(InvalidInputError, match="version"):
        write_router(tmp_path / "router.json", distilled, version="", at=AT)
    with pytest.raises(InvalidInputError, match="timestamp"):
        write_router(tmp_path / "router.json", distilled, version="1.0.0", at=AT.replace(tzinfo=None))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"7", b'{"model_type": "monotone_gbm_int8"}', b"\xff"])
def test_what_is_no_router_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "router.json"
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_router(path)
    path.write_bytes(content)
    with pytest.raises(AcgsError, match="router"):
        load_router(path)
