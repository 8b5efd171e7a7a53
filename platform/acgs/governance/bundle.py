"""The guard bundle: encoder, heads, policy trees and calibration in one folder, digest by digest, signed.

A bundle carries the constitution digest it was trained under and loads only beside that constitution.
"""

from __future__ import annotations

import base64
import hashlib
import lzma
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from acgs.audit.keys import PublicKey, SigningKey
from acgs.constitution.lock import LockedConstitution
from acgs.errors import ConstitutionMismatchError, IntegrityError, UnavailableError
from acgs.files import write_atomic
from acgs.governance.consensus import DomainThresholds
from acgs.governance.encoder import EncoderWeights, StaticEncoder
from acgs.governance.forest import Forest, TreeArrays
from acgs.statistics.calibration import CalibrationSteps
from acgs.statistics.conformal import Band

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
PUBLIC_KEY: Final = "signer.pem"
ENCODER: Final = "encoder.safetensors"
FOREST: Final = "forest.safetensors"
TOKENIZER: Final = "tokenizer.json.xz"
SECOND_TIER: Final = "second_tier.safetensors"
MODEL_CARD: Final = "MODEL_CARD.md"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Steps(_Part):
    """A calibration as stored; see `CalibrationSteps`."""

    edges: list[float]
    probability: list[float]
    lower: list[float]
    upper: list[float]

    def build(self) -> CalibrationSteps:
        """The arrays."""
        return CalibrationSteps(
            *(np.array(values) for values in (self.edges, self.probability, self.lower, self.upper))
        )


class StoredBand(_Part):
    """A domain's conformal cuts; an absent cut never excludes its label."""

    violate_from: float | None
    comply_to: float | None
    alpha: float

    def build(self) -> Band:
        """The cuts as numbers."""
        low = -np.inf if self.violate_from is None else self.violate_from
        return Band(low, np.inf if self.comply_to is None else self.comply_to)


class Manifest(_Part):
    """What is in the bundle and under which constitution it was made."""

    format: int = 1
    name: str
    version: str
    constitution_digest: Digest
    seed: int
    heads: list[str]
    """Principles the encoder scores, then `overall`."""
    features: list[str]
    """Columns of the forest: every principle, then the facts."""
    platt: dict[str, list[tuple[float, float]]]
    """Slope and intercept of each head, by tier."""
    tree_weights: list[float]
    out_of_bag_errors: list[float]
    flagged_trees: list[str]
    calibration: Steps
    bands: dict[str, StoredBand]
    threshold: float
    """Forest score from which `acgs governance score` counts a violation: largest F1 out of bag, labels balanced."""
    metrics: dict[str, Any]
    files: dict[str, Digest]


@dataclass(frozen=True, slots=True)
class GuardBundle:
    """A verified bundle, ready to score."""

    manifest: Manifest
    digest: str
    encoder: StaticEncoder
    forest: Forest
    calibration: CalibrationSteps
    thresholds: dict[str, DomainThresholds]
    directory: Path

    @property
    def version(self) -> str:
        """Name, version and digest in one string, as receipts carry it."""
        return f"{self.manifest.name}-{self.manifest.version}+{self.digest[:12]}"

    def with_confidence(self, thresholds: dict[str, float]) -> GuardBundle:
        """The same bundle, with other confidence thresholds for the named domains."""
        changed = {name: replace(self.thresholds[name], confidence=value) for name, value in thresholds.items()}
        return replace(self, thresholds={**self.thresholds, **changed})


def shipped_bundle_directory() -> Path:
    """Where the bundle that comes with the package lies."""
    return Path(str(files("acgs.governance") / "guard_bundle"))


def write_bundle(
    directory: Path,
    manifest: Manifest,
    contents: dict[str, bytes],
    key: SigningKey,
) -> Manifest:
    """Write all files, then the manifest with their digests, then its signature; the manifest makes it a bundle."""
    for name, data in contents.items():
        write_atomic(directory / name, data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    complete = manifest.model_copy(update={"files": digests})
    body = complete.model_dump_json(indent=1).encode()
    write_atomic(directory / PUBLIC_KEY, key.public.pem().encode())
    write_atomic(directory / SIGNATURE, base64.b64encode(key.sign(body)) + b"\n")
    write_atomic(directory / MANIFEST, body)
    return complete


def encoder_bytes(weights: EncoderWeights) -> bytes:
    """The encoder's arrays as safetensors."""
    return save_tensors({name: np.ascontiguousarray(getattr(weights, name)) for name in EncoderWeights.names()})


def forest_bytes(trees: TreeArrays) -> bytes:
    """The trees' arrays as safetensors."""
    return save_tensors({name: np.ascontiguousarray(getattr(trees, name)) for name in TreeArrays.__slots__})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"the guard bundle lacks {path.name}; train one with 'acgs train guard'") from error


def _verified_contents(directory: Path, manifest: Manifest) -> dict[str, bytes]:
    contents = {}
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise IntegrityError(f"the guard bundle names a file outside its folder: {name}")
        data = _read(directory / name)
        if hashlib.sha256(data).hexdigest() != expected:
            raise IntegrityError(f"guard bundle: {name} does not match its digest; restore it from its source")
        contents[name] = data
    return contents


def load_bundle(
    constitution: LockedConstitution, directory: Path | None = None, *, trusted: PublicKey | None = None
) -> GuardBundle:
    """Load and verify a bundle.

    Args:
        trusted: the key the signature must come from; by default the one beside the bundle, which proves only that
            the bundle is whole.

    Raises:
        UnavailableError: a file is missing.
        IntegrityError: a digest or the signature is wrong, or a file is malformed.
        ConstitutionMismatchError: the bundle was trained under another constitution.
    """
    directory = directory or shipped_bundle_directory()
    body = _read(directory / MANIFEST)
    key = trusted or PublicKey.from_pem(_read(directory / PUBLIC_KEY).decode("ascii", errors="replace"))
    try:
        signature = base64.b64decode(_read(directory / SIGNATURE).strip(), validate=True)
    except ValueError as error:
        raise IntegrityError("the guard bundle's signature is not base64") from error
    if not key.verify(signature, body):
        raise IntegrityError("the guard bundle's signature does not match its manifest")
    try:
        manifest = Manifest.model_validate_json(body)
    except ValidationError as error:
        raise IntegrityError("the guard bundle's manifest is malformed") from error
    if manifest.constitution_digest != constitution.digest:
        raise ConstitutionMismatchError(
            f"the guard bundle was trained under constitution {manifest.constitution_digest[:16]}..., in force is "
            f"{constitution.digest[:16]}...; train a new one with 'acgs train guard'"
        )
    contents = _verified_contents(directory, manifest)
    try:
        encoder = EncoderWeights(**load_tensors(contents[ENCODER]))
        trees = TreeArrays(**load_tensors(contents[FOREST]))
        tokenizer = lzma.decompress(contents[TOKENIZER]).decode()
        forest = Forest(trees, np.array(manifest.tree_weights), manifest.features)
    except (KeyError, TypeError, ValueError, SafetensorError, lzma.LZMAError) as error:
        raise IntegrityError(f"a file of the guard bundle is malformed: {type(error).__name__}") from error
    profiles = constitution.document.domains
    return GuardBundle(
        manifest=manifest,
        digest=hashlib.sha256(body).hexdigest(),
        encoder=StaticEncoder(encoder, tokenizer),
        forest=forest,
        calibration=manifest.calibration.build(),
        thresholds={
            name: DomainThresholds(profile.confidence_threshold, manifest.bands[name].build())
            for name, profile in profiles.items()
        },
        directory=directory,
    )
