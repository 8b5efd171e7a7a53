"""What comes out of a tar lies in its folder, is a plain file, and costs no more than was sent."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.registry.artifacts.refusal import RefusedFileError
from acgs.registry.unpacking import MAX_MEMBERS, unpack


def packed(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "", **how: object) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", **how) as tar:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def unpacked(tmp_path: Path) -> Callable[[bytes], Path]:
    def act(body: bytes) -> Path:
        archive, folder = tmp_path / "archive.tar", tmp_path / "inside" / "folder"
        archive.write_bytes(body)
        folder.mkdir(parents=True, exist_ok=True)
        unpack(archive, folder)
        return folder

    return act


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_folder_comes_out_as_the_tools_pack_it(tmp_path: Path, unpacked: Callable[[bytes], Path], form: int) -> None:
    source = tmp_path / "model"
    long = "/".join(["a-rather-long-name-of-a-folder"] * 4)
    (source / long).mkdir(parents=True)
    (source / "README.md").write_text("a model\n")
    (source / long / "weights.json").write_text("[1]")
    (source / "empty.json").write_bytes(b"")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        tar.add(source, arcname=".")
    folder = unpacked(made.getvalue())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"README.md": b"a model\n", f"{long}/weights.json": b"[1]", "empty.json": b""}


@pytest.mark.parametrize(
    "name", ["../weights.json", "a/../../b", "/etc/passwd", "a//b", "a\\b", "C:/a", "a/./b", "a" * 300, "x\x07"]
)
def test_a_name_that_leads_elsewhere_is_refused(unpacked: Callable[[bytes], Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError):
        unpacked(packed((name, b"1")))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "archive.tar"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"Z"]
)
def test_what_is_no_plain_file_is_refused(unpacked: Callable[[bytes], Path], kind: bytes) -> None:
    body = packed(("weights.json", b""), kind=kind, link="/etc/passwd")
    with pytest.raises(RefusedFileError, match="only plain files"):
        unpacked(body)


def test_a_name_that_comes_twice_is_refused(unpacked: Callable[[bytes], Path], tmp_path: Path) -> None:
    for twice in ([("a.json", b"1"), ("a.json", b"2")], [("a", b"1"), ("a/b.json", b"2")]):
        with pytest.raises(RefusedFileError, match="twice"):
            unpacked(packed(*twice))
        shutil.rmtree(tmp_path / "inside")


def test_a_header_of_any_length_and_members_without_end_are_refused(unpacked: Callable[[bytes], Path]) -> None:
    with pytest.raises(InvalidInputError, match="no tar"):
        unpacked(packed(("a.json", b"1"), format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * (2 << 20)}))
    with pytest.raises(InvalidInputError, match="members"):
        unpacked(packed(*((f"f{number}", b"") for number in range(MAX_MEMBERS + 1))))


def test_a_tar_that_is_cut_off_or_compressed_or_none_is_refused(unpacked: Callable[[bytes], Path]) -> None:
    import gzip

    whole = packed(("a.json", b"1" * 5000))
    for body in (whole[:3000], gzip.compress(whole), b"no tar", b"\x1f" * 2000):
        with pytest.raises(InvalidInputError, match="no tar"):
            unpacked(body)


@given(place=st.integers(0, 1535), byte=st.integers(0, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_byte_is_changed_nothing_comes_out_beside_the_folder(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    body = bytearray(packed(("inner/weights.json", b"[1]" * 50), ("b.json", b"{}")))
    body[place] = byte
    root = tmp_path_factory.mktemp("flip")
    (root / "archive.tar").write_bytes(body)
    (root / "folder").mkdir()
    with suppress(InvalidInputError):
        unpack(root / "archive.tar", root / "folder")
    assert sorted(path.name for path in root.iterdir()) == ["archive.tar", "folder"]
    assert not any(path.is_symlink() for path in root.rglob("*"))


def _members(body: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return tar.getmembers()


THREE = [("a.json", b"1" * 700), ("b.json", b"2"), ("c.json", b"3" * 512)]
FORMS = {"ustar": tarfile.USTAR_FORMAT, "GNU": tarfile.GNU_FORMAT, "PAX": tarfile.PAX_FORMAT}


def _three(form: int) -> bytes:
    """With a PAX header or a GNU long name before the second member, where the format has one."""
    name = f"{'b' * (90 if form == tarfile.USTAR_FORMAT else 120)}.json"
    return packed(THREE[0], (name, b"2"), THREE[2], format=form)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_a_tar_that_is_cut_off_is_refused_wherever_the_cut_is(
    unpacked: Callable[[bytes], Path], tmp_path: Path, form: int
) -> None:
    body = _three(form)
    end = _members(body)[-1].offset_data + 512
    for cut in [*range(0, end + 1024, 128), *range(1, end + 1024, 509), end + 1023]:
        shutil.rmtree(tmp_path / "inside", ignore_errors=True)
        with pytest.raises(InvalidInputError, match="cut off or damaged"):
            unpacked(body[:cut])
    shutil.rmtree(tmp_path / "inside")
    assert len(list(unpacked(body[: end + 1024]).iterdir())) == 3


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("number", [1, 2])
def test_a_damaged_header_after_the_first_is_refused_and_not_taken_for_the_end(
    unpacked: Callable[[bytes], Path], tmp_path: Path, form: int, number: int
) -> None:
    body = _three(form)
    start = _members(body)[number].offset
    flipped = bytearray(body)
    flipped[start] ^= 1
    zeroed = body[:start] + bytes(512) + body[start + 512 :]
    for damaged in (bytes(flipped), zeroed, body + b"\1", body.rstrip(b"\0") + b"x" + bytes(2048)):
        shutil.rmtree(tmp_path / "inside", ignore_errors=True)
        with pytest.raises(InvalidInputError, match="cut off or damaged"):
            unpacked(damaged)


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_what_the_tar_command_packs_comes_out(unpacked: Callable[[bytes], Path], tmp_path: Path, form: str) -> None:
    (tmp_path / "model" / "part").mkdir(parents=True)
    (tmp_path / "model" / "part" / "weights.json").write_text("[1]")
    (tmp_path / "model" / "empty.json").write_text("")
    command = ["tar", f"--format={form}", "-C", str(tmp_path / "model"), "-c", "."]
    folder = unpacked(subprocess.run(command, check=True, capture_output=True).stdout)
    assert (folder / "part" / "weights.json").read_text() == "[1]"
    assert (folder / "empty.json").read_bytes() == b""
