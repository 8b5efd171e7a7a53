from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acgs.audit.keys import SigningKey
from acgs.constitution.lock import LockedConstitution
from acgs.errors import AcgsError, ConstitutionMismatchError, IntegrityError, UnavailableError
from acgs.governance.bundle import (
    ENCODER,
    FOREST,
    MANIFEST,
    PUBLIC_KEY,
    SIGNATURE,
    TOKENIZER,
    GuardBundle,
    Manifest,
    load_bundle,
    write_bundle,
)
from acgs.governance.decision import Governor

CONTENTS = (ENCODER, FOREST, TOKENIZER)
ALL_FILES = (*CONTENTS, MANIFEST, SIGNATURE, PUBLIC_KEY)


@pytest.fixture
def copy(guard_directory: Path, tmp_path: Path) -> Path:
    """The small bundle, free to be damaged."""
    return Path(shutil.copytree(guard_directory, tmp_path / "guard"))


@pytest.fixture
def sign_again(copy: Path, signing_key: SigningKey) -> Callable[[Callable[[dict[str, Any]], None]], None]:
    """Change the manifest and sign it with the right key: what a faulty or hostile trainer could write."""

    def apply(change: Callable[[dict[str, Any]], None]) -> None:
        import base64

        raw = json.loads((copy / MANIFEST).read_bytes())
        change(raw)
        body = json.dumps(raw).encode()
        (copy / MANIFEST).write_bytes(body)
        (copy / SIGNATURE).write_bytes(base64.b64encode(signing_key.sign(body)))

    return apply


def load(directory: Path, constitution: LockedConstitution, key: SigningKey | None = None) -> GuardBundle:
    return load_bundle(constitution, directory, trusted=key.public if key else None)


def test_a_whole_bundle_loads_and_names_itself(
    copy: Path, constitution: LockedConstitution, signing_key: SigningKey
) -> None:
    bundle = load(copy, constitution, signing_key)
    assert bundle.version == f"synthetic-guard-0.0.1+{bundle.digest[:12]}"
    assert set(bundle.thresholds) == set(constitution.document.domains)


@pytest.mark.parametrize("name", [name for name in ALL_FILES if name != PUBLIC_KEY])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_flipped_byte_in_any_file_is_refused(
    copy: Path, constitution: LockedConstitution, signing_key: SigningKey, name: str, place: float
) -> None:
    data = bytearray((copy / name).read_bytes().rstrip(b"\n"))
    data[int(place * (len(data) - 1))] ^= 0x01
    (copy / name).write_bytes(data)
    with pytest.raises(IntegrityError):
        load(copy, constitution, signing_key)


@pytest.mark.parametrize("place", [5, 60, 80])
def test_a_flipped_byte_in_the_key_beside_the_bundle_is_refused(
    copy: Path, constitution: LockedConstitution, place: int
) -> None:
    data = bytearray((copy / PUBLIC_KEY).read_bytes())
    data[place] ^= 0x01
    (copy / PUBLIC_KEY).write_bytes(data)
    with pytest.raises(AcgsError):
        load(copy, constitution)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_missing_file_is_named(copy: Path, constitution: LockedConstitution, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(UnavailableError, match=name):
        load(copy, constitution)


def test_a_bundle_signed_by_somebody_else_is_refused(copy: Path, constitution: LockedConstitution) -> None:
    with pytest.raises(IntegrityError, match="signature"):
        load(copy, constitution, SigningKey.generate())


@pytest.mark.parametrize("signature", [b"", b"not base64!", b"QUJD"])
def test_a_malformed_signature_is_refused(copy: Path, constitution: LockedConstitution, signature: bytes) -> None:
    (copy / SIGNATURE).write_bytes(signature)
    with pytest.raises(IntegrityError, match="signature"):
        load(copy, constitution)


def test_another_constitution_is_refused_and_both_are_named(copy: Path, constitution: LockedConstitution) -> None:
    other = replace(constitution, digest="ab" * 32)
    with pytest.raises(ConstitutionMismatchError, match=f"{constitution.digest[:16]}.*abababababababab"):
        load(copy, other)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/file"])
def test_a_file_outside_the_folder_is_refused_before_it_is_read(
    copy: Path, constitution: LockedConstitution, sign_again: Callable[..., None], name: str
) -> None:
    sign_again(lambda raw: raw["files"].update({name: "0" * 64}))
    with pytest.raises(IntegrityError, match="outside its folder"):
        load(copy, constitution)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(surprise=1),
        lambda raw: raw.pop("heads"),
        lambda raw: raw["files"].update({ENCODER: "short"}),
    ],
)
def test_a_manifest_that_does_not_fit_the_schema_is_refused(
    copy: Path, constitution: LockedConstitution, sign_again: Callable[..., None], change: Callable[..., None]
) -> None:
    sign_again(change)
    with pytest.raises(IntegrityError, match="malformed"):
        load(copy, constitution)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_signed_file_that_is_not_what_its_name_says_is_refused(
    guard_directory: Path, constitution: LockedConstitution, signing_key: SigningKey, tmp_path: Path, name: str
) -> None:
    contents = {part: (guard_directory / part).read_bytes() for part in CONTENTS} | {name: b"junk"}
    manifest = Manifest.model_validate_json((guard_directory / MANIFEST).read_bytes())
    write_bundle(tmp_path, manifest, contents, signing_key)
    with pytest.raises(IntegrityError, match="malformed"):
        load(tmp_path, constitution)


def test_a_bundle_without_a_voting_tree_is_refused(
    copy: Path, constitution: LockedConstitution, sign_again: Callable[..., None]
) -> None:
    sign_again(lambda raw: raw.update(tree_weights=[0.0] * len(raw["tree_weights"])))
    with pytest.raises(IntegrityError):
        load(copy, constitution)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_manifest_that_leaves_a_needed_file_out_is_refused(
    copy: Path, constitution: LockedConstitution, sign_again: Callable[..., None], name: str
) -> None:
    sign_again(lambda raw: raw["files"].pop(name))
    with pytest.raises(IntegrityError):
        load(copy, constitution)


def test_raising_a_domains_confidence_leaves_the_others_alone(governor: Governor) -> None:
    raised = governor.bundle.with_confidence({"legal": 0.999})
    assert raised.thresholds["legal"].confidence == 0.999
    assert raised.thresholds["general"] == governor.bundle.thresholds["general"]
    assert governor.bundle.thresholds["legal"].confidence < 0.999
