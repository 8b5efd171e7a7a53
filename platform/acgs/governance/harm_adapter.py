"""A harm adapter: one more scorer beside the bundle's tiers, in the second tier's format, with its own manifest.

It answers one question, harmful or not, of the texts it was trained on, and knows nothing of single principles. The
policy forest is calibrated on principle scores of the bundle's encoders, so an adapter's score does not go through it:
it is reported under the adapter's own name, beside the tiers' scores, and takes part in no decision.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.constitution.lock import LockedConstitution
from acgs.errors import ConstitutionMismatchError, IntegrityError, UnavailableError
from acgs.files import write_atomic

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "adapter.safetensors"
CARD: Final = "MODEL_CARD.md"
THRESHOLD: Final = 0.5
"""Probability of harm from which a text counts as harmful. Not tuned: no held-out label decided it."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class HarmAdapterManifest(BaseModel):
    """What the adapter was made of and how good it was. Figures are of held-out texts, AUROC by model and slice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    name: str
    run_id: str
    constitution_digest: Digest
    seed: int
    max_tokens: int
    config: dict[str, Any]
    data: dict[str, Digest]
    """SHA-256 of each set's file."""
    corpus_digest: Digest
    quality: dict[str, Any]
    privacy: dict[str, Any]
    """The statement of the run, from the ledger."""
    weights: Digest
    """SHA-256 of the adapter's file."""


@dataclass(frozen=True, slots=True)
class HarmAdapter:
    """A verified adapter. `digest` is that of its manifest."""

    manifest: HarmAdapterManifest
    digest: str
    weights: bytes

    @property
    def version(self) -> str:
        """Name and digest in one string."""
        return f"{self.manifest.name}+{self.digest[:12]}"


def write_harm_adapter(directory: Path, manifest: HarmAdapterManifest, weights: bytes, card: str) -> str:
    """Write weights, card, then the manifest, which makes the folder an adapter; return the manifest's digest.

    Raises:
        IntegrityError: the manifest names other weights.
    """
    if hashlib.sha256(weights).hexdigest() != manifest.weights:
        raise IntegrityError("the manifest's digest is not that of the weights")
    body = manifest.model_dump_json(indent=1).encode()
    write_atomic(directory / WEIGHTS, weights)
    write_atomic(directory / CARD, card.encode())
    write_atomic(directory / MANIFEST, body)
    return hashlib.sha256(body).hexdigest()


def load_harm_adapter(constitution: LockedConstitution, directory: Path) -> HarmAdapter:
    """Load and verify an adapter.

    Raises:
        UnavailableError: a file is missing.
        IntegrityError: the weights are not those of the manifest, or the manifest is malformed.
        ConstitutionMismatchError: it was trained under another constitution.
    """
    body, weights = (_read(directory / name) for name in (MANIFEST, WEIGHTS))
    try:
        manifest = HarmAdapterManifest.model_validate_json(body)
    except ValidationError as error:
        raise IntegrityError("the harm adapter's manifest is malformed; restore it from its source") from error
    if hashlib.sha256(weights).hexdigest() != manifest.weights:
        raise IntegrityError(f"harm adapter: {WEIGHTS} does not match its digest; restore it from its source")
    if manifest.constitution_digest != constitution.digest:
        raise ConstitutionMismatchError(
            f"the harm adapter was trained under constitution {manifest.constitution_digest[:16]}..., in force is "
            f"{constitution.digest[:16]}...; train a new one with 'acgs train guard-adapter'"
        )
    return HarmAdapter(manifest, hashlib.sha256(body).hexdigest(), weights)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"the harm adapter lacks {path.name}; train one with 'acgs train guard-adapter'"
        ) from error


def harm_probability(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probability of harm from the one head's logits, (n, 1) to (n,)."""
    probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logits[:, 0].astype(np.float64)))
    return probability
