"""Which files are taken, and with which reason the others are not."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import lightgbm
import numpy as np
import onnx
import pytest
import scipy.sparse
import skops.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.numpy import save
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from acgs.errors import InvalidInputError
from acgs.registry.artifacts import protobuf_files as protobuf_module
from acgs.registry.artifacts import skops_file as skops_module
from acgs.registry.artifacts import source as source_module
from acgs.registry.artifacts.formats import BY_SUFFIX, check_file
from acgs.registry.artifacts.refusal import ChangedFileError, RefusedFileError
from acgs.registry.artifacts.source import opened, source_files


def check(path: str, data: bytes) -> None:
    check_file(path, io.BytesIO(data))


def tensors(header: Any, body: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def tensor(begin: int, end: int, shape: list[Any] | None = None, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def graph(weights: TensorProto) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    return helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [other], [weights])


def weights(external: str | None = None) -> TensorProto:
    made = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    if external is not None:
        made.ClearField("float_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value=external)
    return made


def nested_model() -> bytes:
    """The tensor in another file lies in an attribute of a node in a branch."""
    branch = helper.make_graph([helper.make_node("Constant", [], ["y"], value=weights("../../x"))], "b", [], [])
    outer = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], "g", [], []
    )
    return bytes(helper.make_model(outer).SerializeToString())


def booster() -> str:
    data = lightgbm.Dataset(np.random.default_rng(0).random((60, 3)), label=[0, 1] * 30)
    return str(lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 3).model_to_string())


def tokenizer() -> bytes:
    """A SentencePiece model by its published schema: two pieces (text, score), trainer and normalizer settings."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    pieces = [field(1, field(1, text) + b"\x15" + struct.pack("<f", -1.5)) for text in (b"<unk>", b"word")]
    return b"".join(pieces) + field(2, field(2, b"prefix")) + field(3, field(1, b"nmt_nfkc"))


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


ROWS = np.random.default_rng(0).random((30, 3))
LABELS = [0, 1] * 15


def test_what_the_tools_write_is_taken() -> None:
    forest = RandomForestClassifier(3, random_state=1, n_jobs=1).fit(ROWS, LABELS)
    sparse = LogisticRegression().fit(ROWS, LABELS).sparsify()
    for path, data in {
        "m.safetensors": save({"a": np.ones((2, 3), np.float32), "b": np.zeros(0, np.int64)}),
        "empty.safetensors": save({}),
        "m.onnx": helper.make_model(graph(weights())).SerializeToString(),
        "forest.skops": skops.io.dumps(forest),
        "sparse.skops": skops.io.dumps(sparse),
        "packed.skops": skops.io.dumps(forest, compression=zipfile.ZIP_DEFLATED),
        "a.npy": npy(np.ones((3, 4))),
        "words.npy": npy(np.array(["one", "three"])),
        "nothing.npy": npy(np.ones((0, 4))),
        "model.txt": booster().encode(),
        "model.lgb": booster().encode(),
        "config.json": b'{"a": [1, 2.5, null]}',
        "rows.jsonl": b'{"a": 1}\n\n{"a": 2}',
        "vocab.txt": "[PAD]\nwörter\n##ing\n".encode(),
        "merges.txt": b"#version: 0.2\nt h\n",
        "card.yaml": b"license: apache-2.0\n",
        "README.md": b"# N.\n",
        "LICENSE": b"Apache",
        "chat_template.jinja": b"{{ messages }}",
        "tokenizer.model": tokenizer(),
    }.items():
        check(path, data)


def test_a_safetensors_header_that_looks_like_a_pickle_is_taken_for_what_it_is() -> None:
    raw = json.dumps({"a": tensor(0, 4)}).encode()
    data = tensors(raw.ljust(640), b"1234")
    assert data[:2] == b"\x80\x02"
    check("m.safetensors", data)


@pytest.mark.parametrize("name", ["m.pkl", "m.json", "vocab.txt", "m.safetensors", "m.npy", "m.onnx", "m.skops"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_is_refused_under_any_name_and_told(name: str, protocol: int) -> None:
    with pytest.raises(RefusedFileError, match=f"'{name}' is refused: it is a pickle"):
        check(name, pickle.dumps(Evil(), protocol))


def test_other_forms_of_pickles_and_archives_are_refused_and_told(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    torch_bytes = (tmp_path / "pytorch_model.bin").read_bytes()
    packed = io.BytesIO()
    joblib.dump(Evil(), packed, compress=("gzip", 3))
    plain = io.BytesIO()
    joblib.dump({"a": np.ones(3)}, plain)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as file:
        file.addfile(tarfile.TarInfo("member"))
    for data, kind in (
        (torch_bytes, "a zip archive with a pickle in it"),
        (packed.getvalue(), "a gzip archive"),
        (plain.getvalue(), "a pickle"),
        (gzip.compress(b"{}"), "a gzip archive"),
        (tar.getvalue(), "a tar archive"),
        (b"\x7fELF" + bytes(99), "a program"),
        (b"#!/bin/sh\n", "a script"),
    ):
        for name in ("model.bin", "weights.safetensors", "model.skops", "tokenizer.model"):
            with pytest.raises(RefusedFileError, match=kind):
                check(name, data)


@pytest.mark.parametrize("name", ["m.bin", "m.pt", "m.pth", "m.ckpt", "m.h5", "m.py", "m.joblib", "m", "m.json.pkl"])
def test_a_name_that_is_not_listed_is_refused(name: str) -> None:
    with pytest.raises(RefusedFileError, match="no format that artifacts may hold"):
        check(name, b"{}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01", "longer than the file"),
        (struct.pack("<Q", 1 << 40), "longer than the file"),
        (tensors(b"[1]"), "no JSON object"),
        (tensors(b'{"a":'), "no JSON object"),
        (tensors(b'{"a":{},"a":{}}'), "no JSON object"),
        (tensors(b"{" + b'"a":[' * 9000), "no JSON object"),
        (tensors({"a": tensor(0, 4), "b": tensor(2, 6)}, b"123456"), "overlap"),
        (tensors({"a": tensor(0, 2), "b": tensor(4, 6)}, b"123456"), "gap"),
        (tensors({"a": tensor(0, 4)}, b"123"), "where the file ends"),
        (tensors({"a": tensor(0, 4)}, b"12345"), "where the file ends"),
        (tensors({"a": tensor(0, 4, [2, 3])}, b"1234"), "bytes that its shape needs"),
        (tensors({"a": tensor(0, 4, [-2, -2])}, b"1234"), "no counts"),
        (tensors({"a": tensor(0, 4, [True, 4])}, b"1234"), "no counts"),
        (tensors({"a": tensor(4, 0, [])}, b"1234"), "bytes that its shape needs"),
        (tensors({"a": tensor(0, 4, dtype="OBJ")}, b"1234"), "unknown dtype"),
        (tensors({"a": {"dtype": "U8"}}), "not described"),
        (tensors({"__metadata__": {"a": 1}}), "metadata"),
    ],
)
def test_a_safetensors_file_that_does_not_hold_together_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedFileError, match=reason):
        check("m.safetensors", data)


def test_an_oversize_header_is_refused_before_it_is_read() -> None:
    class Huge(io.RawIOBase):
        def seek(self, offset: int, whence: int = 0) -> int:
            return (1 << 40) if whence == os.SEEK_END else offset

        def read(self, size: int = -1) -> bytes:
            assert 0 <= size <= 1 << 16
            return struct.pack("<Q", 1 << 30)

    with pytest.raises(RefusedFileError, match="1073741824 bytes"):
        check_file("m.safetensors", Huge())  # type: ignore[arg-type]


def skops_bytes(extra: dict[str, bytes], schema: bytes = b"{}") -> bytes:
    return archive({"schema.json": schema, **extra})


def linked() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", "{}")
        member = zipfile.ZipInfo("link.npy")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(member, "/etc/passwd")
    return buffer.getvalue()


def lying() -> bytes:
    """The array's declared size is smaller than what it unpacks to."""
    data = bytearray(skops_bytes({"a.npy": npy(np.zeros(5000))}))
    place = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, place + 24, 100)
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: archive({"a.npy": npy(np.ones(2))}), "no schema.json"),
        (lambda: skops_bytes({}, b"[1]"), "no JSON object"),
        (lambda: skops_bytes({}, b"not json"), "no JSON object"),
        (lambda: skops_bytes({"../a.npy": b""}), "climbs out"),
        (lambda: skops_bytes({"/a.npy": b""}), "absolute"),
        (lambda: skops_bytes({"a\\b.npy": b""}), "backslash"),
        (lambda: skops_bytes({"data.pkl": pickle.dumps(1)}), "neither schema.json nor an array"),
        (lambda: skops_bytes({"a.npy": npy(np.array([{}], object), allow_pickle=True)}), "holds Python objects"),
        (lambda: skops_bytes({"a.npy": pickle.dumps(1)}), "no NumPy array"),
        (lambda: skops_bytes({"a.npz": archive({"data.pkl": b""})}), "something else than arrays"),
        (lambda: skops_bytes({"a.npy": npy(np.zeros(1 << 20))}), "more than 200 times"),
        (lambda: pickle.dumps(1) + skops_bytes({}), "does not begin as a zip"),
        (lambda: skops_bytes({"a.npy": npy(np.random.default_rng(0).random(99))})[:-40], "no zip archive"),
        (linked, "is a link"),
        (lying, "damaged|declares"),
    ],
)
def test_a_skops_file_that_hides_something_is_refused(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(RefusedFileError, match=reason):
        check("m.skops", make())


def test_a_sparse_matrix_in_a_skops_file_is_taken() -> None:
    inner = io.BytesIO()
    scipy.sparse.save_npz(inner, scipy.sparse.eye(5, format="csr"))
    check("m.skops", skops_bytes({"a.npz": inner.getvalue()}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy(np.array([{}], object), allow_pickle=True), "holds Python objects"),
        (npy(np.zeros(2, [("a", "O")]), allow_pickle=True), "holds Python objects"),
        (npy(np.ones(4)) + b"more", "bytes that its shape needs"),
        (npy(np.ones(4))[:-1], "bytes that its shape needs"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "no NumPy array file, or its header is too long"),
        (b"\x93NUMPY\x09\x00", "version|no NumPy"),
    ],
)
def test_an_array_file_that_is_more_than_numbers_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedFileError, match=reason):
        check("a.npy", data)


@pytest.mark.parametrize("make", [nested_model, lambda: helper.make_model(graph(weights("../w"))).SerializeToString()])
def test_a_model_whose_tensors_lie_in_another_file_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(RefusedFileError, match="in another file"):
        check("m.onnx", make())


@pytest.mark.parametrize("name", ["m.onnx", "tokenizer.model"])
def test_bytes_that_are_no_such_protocol_buffer_are_refused(name: str) -> None:
    whole = helper.make_model(graph(weights())).SerializeToString()
    for data in (b"", b"\x00", b"{}", whole[:-3], whole + b"\x07", os.urandom(200)):
        with pytest.raises(RefusedFileError):
            check(name, data)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.json", b'{"a": NaN}', "not one JSON document"),
        ("a.json", b'{"a": 1, "a": 2}', "not one JSON document"),
        ("a.json", b"{} {}", "not one JSON document"),
        ("a.json", b"[" * 100_000, "not one JSON document"),
        ("a.json", b'"\xff"', "not one JSON document"),
        ("a.jsonl", b"{}\n{", "line 2"),
        ("a.txt", b"\xff\xfe", "not text"),
        ("a.txt", b"a\x00b", "control characters"),
        ("a.md", b"\x1b[31m", "control characters"),
        ("a.yaml", b"a: !!python/object/apply:os.system [x]", "Python objects"),
        ("model.txt", b"tree\nversion=v4\n", "cut off"),
        ("model.lgb", b"other", "no LightGBM model"),
    ],
)
def test_text_that_is_not_what_its_name_says_is_refused(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(RefusedFileError, match=reason):
        check(name, data)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(BY_SUFFIX)), st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused_but_never_fail_otherwise(suffix: str, data: bytes) -> None:
    try:
        check(f"file{suffix}", data)
    except RefusedFileError as error:
        assert "file" in error.message


def test_links_and_devices_and_odd_names_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.json").write_text("{}")
    for name, make, reason in (
        ("link.json", lambda path: path.symlink_to(tmp_path / "real" / "a.json"), "is a link"),
        ("folder", lambda path: path.symlink_to(tmp_path / "real"), "is a link"),
        ("broken.json", lambda path: path.symlink_to("nowhere"), "is a link"),
        ("pipe.json", os.mkfifo, "is a pipe"),
        ("a\nb.json", lambda path: path.write_text("{}"), "control character"),
        ("a\\b.json", lambda path: path.write_text("{}"), "backslash"),
        (os.fsdecode(b"\xff.json"), lambda path: path.write_text("{}"), "control character"),
    ):
        folder = tmp_path / f"case-{abs(hash(name))}"
        folder.mkdir()
        make(folder / name)
        with pytest.raises(RefusedFileError, match=reason):
            source_files(folder)


def test_a_folder_with_nothing_too_much_or_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInputError, match="holds no file"):
        source_files(tmp_path)
    with pytest.raises(InvalidInputError, match="there is no"):
        source_files(tmp_path / "none")
    monkeypatch.setattr(source_module, "MAX_FILES", 2)
    for index in range(3):
        (tmp_path / f"{index}.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="more than 2 files"):
        source_files(tmp_path)


def test_a_file_that_is_replaced_between_the_finding_and_the_reading_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    def link() -> None:
        path.unlink()
        path.symlink_to("/etc/hostname")

    def pipe() -> None:
        path.unlink()
        os.mkfifo(path)

    for replace, error in (
        (lambda: path.write_text("{}    "), ChangedFileError),
        (path.unlink, ChangedFileError),
        (link, RefusedFileError),
        (pipe, RefusedFileError),
    ):
        path.unlink(missing_ok=True)
        path.write_text("{}")
        (found,) = source_files(tmp_path)
        replace()
        with pytest.raises(error), opened(found):
            pass


def test_a_file_that_is_replaced_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text("{}")
    (found,) = source_files(tmp_path)
    for replace in (lambda: other.write_text("[]") and other.replace(path), path.unlink):
        with pytest.raises(ChangedFileError), opened(found):
            replace()


def test_a_skops_file_with_too_many_or_too_large_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = skops_bytes({"a.npy": npy(np.random.default_rng(0).random(999))})
    for name, reason in (
        ("MAX_MEMBERS", "members; 1 are allowed"),
        ("MAX_UNPACKED_BYTES", "unpack to more than 1 bytes"),
        ("MAX_MEMBER_BYTES", "unpack to more than 1 bytes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(skops_module, name, 1)
            with pytest.raises(RefusedFileError, match=reason):
                check("m.skops", data)
    doubled = io.BytesIO()
    with zipfile.ZipFile(doubled, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("schema.json", "{}")
        file.writestr("schema.json", '{"other": 1}')
    with pytest.raises(RefusedFileError, match="two members of one name"):
        check("m.skops", doubled.getvalue())


def test_a_model_with_more_fields_or_deeper_graphs_than_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = helper.make_model(graph(weights())).SerializeToString()
    for name, reason in (("MAX_FIELDS", "more than 3 fields"), ("MAX_DEPTH", "too deep")):
        with monkeypatch.context() as patch:
            patch.setattr(protobuf_module, name, 3 if name == "MAX_FIELDS" else 1)
            with pytest.raises(RefusedFileError, match=reason):
                check("m.onnx", whole)


def test_git_and_the_signature_are_no_part_of_an_artifact(tmp_path: Path) -> None:
    (tmp_path / ".git" / "objects").mkdir(parents=True)
    (tmp_path / ".git" / "objects" / "ab").write_bytes(b"\x00")
    (tmp_path / "inner").mkdir()
    for name in (".gitattributes", "model.sig", "inner/a.json"):
        (tmp_path / name).write_text("{}")
    assert [file.path for file in source_files(tmp_path)] == ["inner/a.json"]
