"""What is particular to each kind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from acgs.errors import InvalidInputError, UnavailableError
from acgs.serving.package import Kind, open_package
from acgs.serving.packing import pack_sklearn, write_package
from acgs.serving.runtimes.opening import open_runtime
from acgs.serving.runtimes.runtime import ModelFailedError, ModelRefusedError, Runtime
from tests.acgs.serving.models import (
    HIGH,
    LABELS,
    LOW,
    NUMBER,
    POINTS,
    RECORD,
    ROW,
    write_lightgbm,
    write_lora,
    write_onnx,
    write_sklearn,
)


def nowhere(_model: str, _version: str) -> Path:
    raise UnavailableError("no registry here")


def opened(folder: Path) -> Runtime:
    return open_runtime(open_package(folder), nowhere)


def edit(folder: Path, **fields: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_forest_answers_classes_and_on_request_probabilities(tmp_path: Path) -> None:
    found = opened(write_sklearn(tmp_path / "p")).predict([HIGH, LOW], {"probabilities": True})
    assert found.values == [1, 0]
    assert found.probabilities is not None
    assert [sum(row) for row in found.probabilities] == pytest.approx([1, 1])


def test_records_go_into_columns_by_the_order_of_the_schema(tmp_path: Path) -> None:
    folder = write_sklearn(tmp_path / "p", instance=RECORD, probe={"dose": 0.0, "age": 2.0})
    runtime = opened(folder)
    assert runtime.predict([{"dose": -9.0, "age": 2.0}], {}).values == runtime.predict([[2.0, -9.0]], {}).values


def test_a_pipeline_over_texts_is_served(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good news", "bad news"] * 4, ["yes", "no"] * 4)
    pack_sklearn(
        model, tmp_path, instance={"type": "string"}, prediction={"enum": ["yes", "no"]}, probes=[["good news"]]
    )
    assert opened(tmp_path).predict(["bad bad"], {}).values == ["no"]


def test_a_type_that_the_package_does_not_trust_is_named(tmp_path: Path) -> None:
    folder = write_sklearn(tmp_path / "p")
    edit(folder, trusted_types=[])
    with pytest.raises(InvalidInputError, match=r"sklearn\.tree\._tree\.Tree") as caught:
        opened(folder)
    assert caught.value.field == "trusted_types"


@pytest.mark.parametrize("name", ["builtins.eval", "os.system", "sklearn.externals.whatever.Thing"])
def test_a_package_cannot_trust_what_is_not_on_our_list(tmp_path: Path, name: str) -> None:
    folder = write_sklearn(tmp_path / "p")
    edit(folder, trusted_types=["sklearn.tree._tree.Tree", name])
    with pytest.raises(InvalidInputError, match=name) as caught:
        opened(folder)
    assert caught.value.field == "trusted_types"


def test_a_model_with_a_function_of_somebody_s_own_is_not_even_packed(tmp_path: Path) -> None:
    from sklearn.preprocessing import FunctionTransformer

    with pytest.raises(InvalidInputError, match="never trusted"):
        pack_sklearn(FunctionTransformer(func=json.loads), tmp_path, instance=ROW, prediction=NUMBER, probes=[[HIGH]])
    assert list(tmp_path.iterdir()) == []


def test_a_skops_file_of_an_older_protocol_is_refused(tmp_path: Path) -> None:
    folder = write_sklearn(tmp_path / "p")
    with zipfile.ZipFile(folder / "model.skops") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])
    members["schema.json"] = json.dumps(schema | {"protocol": 0}).encode()
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InvalidInputError, match="protocol 0"):
        opened(folder)


def test_a_regressor_has_no_probabilities(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    pack_sklearn(LinearRegression().fit(POINTS, LABELS), tmp_path, instance=ROW, prediction=NUMBER, probes=[[HIGH]])
    with pytest.raises(InvalidInputError) as caught:
        opened(tmp_path).predict([HIGH], {"probabilities": True})
    assert caught.value.field == "parameters.probabilities"


@pytest.mark.parametrize("instances", [[[1.0, 2.0, 3.0]], [[1.0], [1.0, 2.0]], [["1.0", 2.0]], [[[1.0, 2.0]]], [[]]])
@pytest.mark.parametrize("write", [write_sklearn, write_lightgbm])
def test_rows_that_do_not_fit_are_the_caller_s_to_mend(tmp_path: Path, write: object, instances: list[object]) -> None:
    assert callable(write)
    with pytest.raises(InvalidInputError) as caught:
        opened(write(tmp_path / "p")).predict(instances, {})
    assert caught.value.field == "instances"


def test_a_pipeline_that_does_not_know_a_category_refuses_what_its_schema_allows(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = np.array([[ward, day] for ward in (0.0, 1.0) for day in (0.0, 1.0)] * 3)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, rows[:, 0].astype(int))
    pack_sklearn(model, tmp_path, instance=ROW, prediction={"enum": [0, 1]}, probes=[[[0.0, 1.0]]])
    with pytest.raises(ModelRefusedError) as caught:
        opened(tmp_path).predict([[7.0, 0.0]], {})
    assert caught.value.field == "instances"
    with pytest.raises(InvalidInputError) as caller:
        opened(tmp_path).predict([[0.0]], {})
    assert not isinstance(caller.value, ModelRefusedError)


def test_a_booster_answers_the_probability_of_class_one_and_takes_missing_values(tmp_path: Path) -> None:
    found = opened(write_lightgbm(tmp_path / "p")).predict([HIGH, LOW, [None, 0.0]], {"probabilities": True})
    assert found.values[0] > 0.5 > found.values[1]
    assert found.probabilities is not None
    assert [row[1] for row in found.probabilities] == found.values


def test_half_a_booster_is_refused(tmp_path: Path) -> None:
    folder = write_lightgbm(tmp_path / "p")
    text = (folder / "model.txt").read_text()
    (folder / "model.txt").write_text(text[: len(text) // 2])
    with pytest.raises(InvalidInputError, match="cut off"):
        opened(folder)


def test_an_onnx_model_computes_and_gives_its_second_output_on_request(tmp_path: Path) -> None:
    found = opened(write_onnx(tmp_path / "p")).predict([[1.0, 2.0], [3.0, 4.5]], {"probabilities": True})
    assert (found.values, found.probabilities) == ([3.0, 7.5], [[1.0, 2.0], [3.0, 4.5]])


def test_an_onnx_model_for_one_row_is_asked_row_by_row(tmp_path: Path) -> None:
    runtime = opened(write_onnx(tmp_path / "p", batch=1))
    assert not runtime.joins
    assert runtime.predict([[1.0, 2.0], [3.0, 4.5]], {}).values == [3.0, 7.5]


def test_an_onnx_model_for_just_seven_rows_is_refused(tmp_path: Path) -> None:
    folder = write_onnx(tmp_path / "p", batch=7)
    with pytest.raises(InvalidInputError, match="free, or 1"):
        opened(folder)


def test_an_onnx_model_that_keeps_data_in_other_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnx.external_data_helper import convert_model_to_external_data

    folder = write_onnx(tmp_path / "p")
    weight = numpy_helper.from_array(np.ones((1, 2), np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, str(folder / "model.onnx"))
    assert (folder / "weights.bin").is_file()
    for working_directory in (tmp_path, folder):
        monkeypatch.chdir(working_directory)
        with pytest.raises(InvalidInputError, match="no ONNX model that can be loaded"):
            opened(folder)


def test_a_value_that_json_cannot_say_is_the_model_s_failure(tmp_path: Path) -> None:
    with pytest.raises(ModelFailedError, match="no finite number"):
        opened(write_onnx(tmp_path / "p")).predict([[3e38, 3e38]], {})


def test_generation_is_greedy_unless_asked_and_says_its_seed(tmp_path: Path) -> None:
    runtime = opened(write_lora(tmp_path / "p"))
    greedy = runtime.predict(["the quick"], {"max_new_tokens": 8})
    assert greedy.facts == {"seed": 0}
    assert runtime.predict(["the quick"], {"max_new_tokens": 8, "seed": 5}).values == greedy.values
    warm = {"max_new_tokens": 8, "temperature": 2.0, "seed": 5}
    sampled = runtime.predict(["the quick"], warm)
    assert sampled == runtime.predict(["the quick"], warm)
    assert sampled.facts == {"seed": 5}
    assert sampled.values != runtime.predict(["the quick"], warm | {"seed": 6}).values
    for wrong in ({"max_new_tokens": 0}, {"max_new_tokens": 100_000}, {"temperature": -1}):
        with pytest.raises(InvalidInputError, match=r"parameters\."):
            runtime.predict(["the quick"], wrong)
    with pytest.raises(InvalidInputError, match=r"instances\.0"):
        runtime.predict([{"messages": [{"role": "nobody", "content": "x"}]}], {})


def test_the_base_of_an_adapter_may_be_a_version_of_its_own(tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "p")
    alone = tmp_path / "alone"
    alone.mkdir()
    (folder / "adapter").rename(alone / "adapter")
    document = json.loads((folder / "model.json").read_text())
    fields = {key: document[key] for key in ("entry", "input", "output")} | {
        "kind": Kind.LORA, "base": {"model": "tiny", "version": "1.0.0"}, "probes": [["the quick"]],
    }  # fmt: skip
    package = write_package(alone, fields)
    asked: list[tuple[str, str]] = []

    def resolve(model: str, version: str) -> Path:
        asked.append((model, version))
        return folder / "base"

    assert len(open_runtime(package, resolve).predict(["the quick"], {"max_new_tokens": 2}).values) == 1
    assert asked == [("tiny", "1.0.0")]
    with pytest.raises(UnavailableError, match="no registry"):
        open_runtime(package, nowhere)


def test_an_adapter_that_is_no_lora_or_a_pickle_is_refused(tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "p")
    config = folder / "adapter" / "adapter_config.json"
    document = json.loads(config.read_text())
    config.write_text(json.dumps(document | {"peft_type": "PROMPT_TUNING"}))
    with pytest.raises(InvalidInputError, match="not a LoRA"):
        opened(folder)
    config.write_text(json.dumps(document))
    (folder / "adapter" / "adapter_model.safetensors").rename(folder / "adapter" / "adapter_model.bin")
    with pytest.raises(InvalidInputError, match=r"no adapter_model\.safetensors"):
        opened(folder)


@pytest.mark.parametrize(
    ("line", "value"), [("split_feature", "999999"), ("left_child", "0"), ("right_child", "0"), ("right_child", "-900")]
)
def test_a_booster_that_lightgbm_would_crash_or_hang_on_is_refused(tmp_path: Path, line: str, value: str) -> None:
    """In a process of its own: before the check, it died or never came back."""
    path = write_lightgbm(tmp_path / "p") / "model.txt"
    before, found, after = re.split(rf"(\n{line}=)", path.read_text(), maxsplit=1)
    values, rest = after.split("\n", 1)
    header, trees = (before + found + " ".join([value] * len(values.split())) + "\n" + rest).split("Tree=", 1)
    sizes = [len("Tree=" + tree) for tree in trees.split("end of trees", 1)[0].split("Tree=")]
    path.write_text(re.sub("tree_sizes=.*", "tree_sizes=" + " ".join(map(str, sizes)), header) + "Tree=" + trees)
    code = (
        "import sys; from pathlib import Path; from acgs.serving.served import load_version\n"
        "load_version('m', '1.0.0', Path(sys.argv[1]), None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path.parent)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "InvalidInputError: the booster is refused: its tree 0 is not one that LightGBM writes" in done.stderr
