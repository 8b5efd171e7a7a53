"""The lock binds the label that requests carry to the digest of the document in force."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.constitution.canonical import digest, label_of
from acgs.constitution.document import Constitution
from acgs.errors import ConstitutionMismatchError, InvalidInputError
from acgs.files import write_atomic


class Lock(BaseModel):
    """`constitution.lock`: label, digest and the version they were taken from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class LockedConstitution:
    """A document whose digest was checked against its lock; the only form the platform runs with."""

    document: Constitution
    digest: str
    label: str

    def accepts(self, name: str) -> bool:
        """Whether a request's `constitutional_hash` names this constitution, by label or digest."""
        return name in (self.label, self.digest)

    def require(self, name: str) -> None:
        """Refuse a request made under another constitution.

        Raises:
            ConstitutionMismatchError: naming the label that is expected.
        """
        if not self.accepts(name):
            raise ConstitutionMismatchError(
                f"Invalid constitutional hash. Expected: {self.label}", field="constitutional_hash"
            )


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        ConstitutionMismatchError: the file is absent or not a lock.
    """
    try:
        return Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConstitutionMismatchError(f"{path} is missing; write it with 'acgs constitution lock'") from error
    except (OSError, ValidationError) as error:
        raise ConstitutionMismatchError(f"{path} is not a constitution lock: {error}") from error


def check_lock(constitution: Constitution, lock: Lock) -> LockedConstitution:
    """Bind a document to its lock.

    Raises:
        ConstitutionMismatchError: the document is not the one that was locked.
    """
    actual = digest(constitution)
    if actual != lock.digest:
        raise ConstitutionMismatchError(
            f"the constitution's digest is {actual[:16]}..., its lock says {lock.digest[:16]}...; review the change "
            "with 'acgs constitution diff' and accept it with 'acgs constitution lock'"
        )
    return LockedConstitution(document=constitution, digest=actual, label=lock.label)


def write_lock(constitution: Constitution, path: Path, *, label: str | None = None) -> Lock:
    """Lock a document. The label is the digest's first 16 hex digits unless a compatibility label is given."""
    document_digest = digest(constitution)
    try:
        lock = Lock(
            label=label or label_of(document_digest),
            digest=document_digest,
            name=constitution.name,
            version=constitution.version,
        )
    except ValidationError as error:
        raise InvalidInputError("a label is 16 hexadecimal digits in lower case", field="label") from error
    write_atomic(path, lock.model_dump_json(indent=2).encode() + b"\n")
    return lock
