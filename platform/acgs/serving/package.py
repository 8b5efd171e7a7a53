"""The model folder: `model.json` and the files it names, opened and checked before anything of it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from acgs.errors import InvalidInputError, first_fault
from acgs.registry.semver import ModelName
from acgs.serving.routing import SemVer
from acgs.serving.schemas import Schema

DESCRIPTOR_FILE: Final = "model.json"
FORMAT: Final = "acgs-model/1"
MAX_DESCRIPTOR_BYTES: Final = 1024 * 1024
MAX_PROBES: Final = 64
MAX_INSTANCES: Final = 1024
"""Instances in one request, and in one probe."""


class Kind(StrEnum):
    """What can be served."""

    SKLEARN = "sklearn"
    LIGHTGBM = "lightgbm"
    ONNX = "onnx"
    LORA = "lora"


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts or path.parts == ():
        raise ValueError("a path inside the model folder is needed, without '..'")
    return name


Inside = Annotated[str, Field(max_length=255), AfterValidator(_inside)]


class BaseFolder(BaseModel):
    """A base model in the same package."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Inside


class BaseVersion(BaseModel):
    """A base model that is a version of the registry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelName
    version: SemVer


class Probe(BaseModel):
    """Real inputs with which a loaded version proves that it answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instances: list[Any] = Field(min_length=1, max_length=MAX_INSTANCES)


class Descriptor(BaseModel):
    """`model.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: Literal["acgs-model/1"]
    kind: Kind
    entry: Inside = Field(description="the file, or for a LoRA the folder, that the runtime loads")
    input: dict[str, Any] = Field(description="JSON schema of one instance; its properties' order is the columns'")
    output: dict[str, Any] = Field(description="JSON schema of one prediction")
    trusted_types: tuple[str, ...] = Field((), max_length=256, description="skops only: types beyond the estimators")
    base: BaseVersion | BaseFolder | None = Field(None, description="LoRA only")
    probes: tuple[Probe, ...] = Field(min_length=1, max_length=MAX_PROBES)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit_the_kind(self) -> Descriptor:
        if (self.base is not None) != (self.kind is Kind.LORA):
            raise ValueError("'base' belongs to kind lora, and is needed there")
        if self.trusted_types and self.kind is not Kind.SKLEARN:
            raise ValueError("'trusted_types' belongs to kind sklearn")
        return self


@dataclass(frozen=True, slots=True)
class Package:
    """A checked model folder."""

    folder: Path
    descriptor: Descriptor
    input: Schema
    output: Schema

    @property
    def entry(self) -> Path:
        """What the runtime loads."""
        return self.folder / self.descriptor.entry


def check_servable(source: Path) -> None:
    """Refuse a model folder that could never be served, before it becomes a version for ever.

    Folders without a `model.json`, and single files, are kept as what they are.

    Raises:
        InvalidInputError: see `open_package`.
    """
    if (source / DESCRIPTOR_FILE).is_file():
        open_package(source)


def open_package(folder: Path) -> Package:
    """Read `model.json` and check it against the folder.

    Raises:
        InvalidInputError: the descriptor is missing, too long or wrong; a path leaves the folder; a schema is none; a
            probe does not satisfy the input schema.
    """
    descriptor = _read(folder / DESCRIPTOR_FILE)
    base = descriptor.base
    _require(folder, descriptor.entry, "entry", is_folder=descriptor.kind is Kind.LORA)
    if isinstance(base, BaseFolder):
        _require(folder, base.folder, "base.folder", is_folder=True)
    package = Package(
        folder, descriptor, Schema(descriptor.input, field="input"), Schema(descriptor.output, field="output")
    )
    for number, probe in enumerate(descriptor.probes):
        for place, instance in enumerate(probe.instances):
            package.input.check(instance, field=f"probes.{number}.instances.{place}")
    return package


def _read(path: Path) -> Descriptor:
    try:
        if path.is_symlink() or path.stat().st_size > MAX_DESCRIPTOR_BYTES:
            raise InvalidInputError(
                f"{DESCRIPTOR_FILE} is a link, or has more than {MAX_DESCRIPTOR_BYTES} bytes", field=DESCRIPTOR_FILE
            )
        return Descriptor.model_validate(orjson.loads(path.read_bytes()))
    except OSError as error:
        raise InvalidInputError(f"the model folder has no readable {DESCRIPTOR_FILE}", field=DESCRIPTOR_FILE) from error
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"{DESCRIPTOR_FILE} is not JSON in UTF-8", field=DESCRIPTOR_FILE) from error
    except ValidationError as error:
        field, fault = first_fault(error, whole=DESCRIPTOR_FILE)
        raise InvalidInputError(f"{DESCRIPTOR_FILE}: {field}: {fault}", field=field) from None


def _require(folder: Path, name: str, field: str, *, is_folder: bool) -> None:
    """The path exists, is of the right sort, and leads nowhere else, not even by a link."""
    path = folder / name
    found = path.is_dir() if is_folder else path.is_file()
    if not found:
        raise InvalidInputError(
            f"{field} names {name!r}, which is no {'folder' if is_folder else 'file'} of the package", field=field
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidInputError(f"{field} leads out of the model folder", field=field)
