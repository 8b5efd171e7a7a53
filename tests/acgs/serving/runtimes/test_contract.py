"""The contract of runtimes, over every kind that can be served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import InvalidInputError
from acgs.serving.fetching import FolderStore
from acgs.serving.package import Kind
from acgs.serving.runtimes.opening import OPENERS
from acgs.serving.runtimes.runtime import ModelFailedError
from acgs.serving.served import ServedVersion, load_version
from tests.acgs.serving.models import HIGH, LOW, WRITERS

INSTANCES: dict[Kind, list[Any]] = {kind: [HIGH, LOW, HIGH] for kind in Kind} | {
    Kind.LORA: ["the quick brown", {"messages": [{"role": "user", "content": "a dog"}]}, "the quick brown"]
}


def load(folder: Path) -> ServedVersion:
    return load_version("m", "1.0.0", folder, FolderStore(folder.parent))


@pytest.fixture(scope="module", params=list(Kind))
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def folder(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return WRITERS[kind](tmp_path_factory.mktemp(kind) / "package")


@pytest.fixture(scope="module")
def served(folder: Path) -> ServedVersion:
    return load(folder)


def changed(folder: Path, target: Path, **fields: Any) -> Path:
    """The same package with another descriptor."""
    shutil.copytree(folder, target)
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (target / "model.json").write_text(json.dumps(document | fields), encoding="utf-8")
    return target


def test_every_kind_has_a_model_in_this_contract() -> None:
    assert OPENERS.keys() == WRITERS.keys() == set(Kind)


def test_a_loaded_version_answers_once_for_each_instance_and_always_the_same(served: ServedVersion, kind: Kind) -> None:
    instances = INSTANCES[kind]
    served.check(instances)
    first = served.predict(instances, {})
    assert len(first.values) == len(instances)
    assert json.loads(json.dumps(first.values, allow_nan=False)) == served.predict(instances, {}).values
    assert first.values[0] == first.values[2]


def test_an_answer_does_not_depend_on_its_neighbours(served: ServedVersion, kind: Kind) -> None:
    together = served.predict(INSTANCES[kind], {}).values
    assert together == [served.predict([instance], {}).values[0] for instance in INSTANCES[kind]]


def test_an_instance_against_the_schema_is_refused_by_name(served: ServedVersion) -> None:
    with pytest.raises(InvalidInputError) as caught:
        served.check([INSTANCES[served.package.descriptor.kind][0], 5])
    assert caught.value.field == "instances.1"


def test_an_unknown_parameter_is_refused_by_name(served: ServedVersion, kind: Kind) -> None:
    with pytest.raises(InvalidInputError) as caught:
        served.predict(INSTANCES[kind], {"colour": "red"})
    assert caught.value.field == "parameters.colour"


def test_a_file_of_another_sort_is_refused(folder: Path, kind: Kind, tmp_path: Path) -> None:
    broken = changed(folder, tmp_path / "broken")
    entry = broken / json.loads((broken / "model.json").read_text())["entry"]
    if kind is Kind.LORA:
        (entry / "adapter_model.safetensors").write_bytes(b"something else")
    else:
        entry.write_bytes(b"something else")
    with pytest.raises(InvalidInputError) as caught:
        load(broken)
    assert caught.value.field == "entry"


def test_a_version_whose_probe_breaks_the_output_schema_is_never_ready(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFailedError, match="probe 0 fails"):
        load(changed(folder, tmp_path / "wrong", output={"type": "null"}))
