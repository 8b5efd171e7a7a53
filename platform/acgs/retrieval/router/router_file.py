"""Reading and writing `router_distilled_int8.json`; a file that breaks a promise is neither written nor loaded."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import rfc8785
from pydantic import ValidationError

from acgs.errors import IntegrityError, InvalidInputError
from acgs.files import write_atomic
from acgs.retrieval.router.document import (
    FeatureAxis,
    FidelityStatement,
    NoRegretStatement,
    PerformanceGuarantees,
    Quantization,
    Quantizer,
    RouterDocument,
    Segments,
    digest_of,
)
from acgs.retrieval.router.fidelity import MARGIN, NoRegret
from acgs.retrieval.router.outputs import FALLS, OUTPUTS, RISES, Signs
from acgs.retrieval.router.runtime import Router
from acgs.retrieval.router.tables import Student

if TYPE_CHECKING:
    from acgs.retrieval.router.distillation import Distillation

ROUTER_FILE: Final = "router_distilled_int8.json"
_DIRECTIONS: Final = {RISES: "increasing", FALLS: "decreasing"}


def write_router(
    path: Path,
    distillation: Distillation,
    *,
    version: str,
    at: datetime,
    no_regret: NoRegret | None = None,
) -> RouterDocument:
    """Write the document, whole or not at all.

    Args:
        at: when, with its time zone.

    Raises:
        InvalidInputError: the tables break a constraint, or the version or time is unusable; nothing is written.
    """
    fields = _fields(distillation, version, at, no_regret)
    try:
        unsigned = RouterDocument.model_construct(**fields).model_dump(mode="json", exclude={"digest"}, warnings=False)
        document = RouterDocument.model_validate({**unsigned, "digest": digest_of(unsigned)})
    except ValidationError as error:
        raise InvalidInputError(f"the router cannot be written: {_complaint(error)}") from error
    write_atomic(path, document.model_dump_json(indent=1).encode() + b"\n")
    return document


def read_router(path: Path) -> RouterDocument:
    """Read and check the document.

    Raises:
        InvalidInputError: it is absent, not a router, or breaks a constraint.
        IntegrityError: its content does not match its digest.
    """
    try:
        content = orjson.loads(path.read_bytes())
        unsigned = {name: value for name, value in content.items() if name != "digest"}
        if content.get("digest") != digest_of(unsigned):
            raise IntegrityError(f"{path} does not match its digest; restore it, or distil the router again")
        return RouterDocument.model_validate(content)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read; distil a router first") from error
    except ValidationError as error:
        raise InvalidInputError(f"{path} is not a router: {_complaint(error)}") from error
    except (orjson.JSONDecodeError, AttributeError, rfc8785.CanonicalizationError) as error:
        raise InvalidInputError(f"{path} is not a router; distil the router again") from error


def load_router(path: Path) -> Router:
    """A router from its file.

    Raises:
        InvalidInputError, IntegrityError: as `read_router`.
    """
    return read_router(path).router()


def _fields(of: Distillation, version: str, at: datetime, no_regret: NoRegret | None) -> dict[str, Any]:
    parts = {output: _segments(of, of.students[output]) for output in OUTPUTS}
    quantizers = {
        f"{output}_quantizer": Quantizer(
            quantization_scale=of.students[output].scale,
            model_checksum=digest_of(parts[output].model_dump(mode="json")),
        )
        for output in OUTPUTS
    }
    statement = NoRegretStatement.model_validate(asdict(no_regret)) if no_regret else None
    agreed = {output: FidelityStatement.model_validate(asdict(of.fidelity[output])) for output in OUTPUTS}
    axes = zip(of.feature_names, of.knots, of.samples, strict=True)
    return {
        "version": version,
        "timestamp": at,
        "features": tuple(
            FeatureAxis(name=name, knots=knots.tolist(), n_samples=counts) for name, knots, counts in axes
        ),
        **{f"{output}_segments": part for output, part in parts.items()},
        "quantization": Quantization(**quantizers),
        "monotone_constraints": _constraints(of.signs),
        "performance_guarantees": PerformanceGuarantees(
            no_regret_threshold=no_regret.margin if no_regret else MARGIN, fidelity=agreed, no_regret=statement
        ),
        "queries": of.queries,
        "training_data_digest": of.data_digest,
        "seed": of.seed,
    }


def _segments(of: Distillation, student: Student) -> Segments:
    return Segments(
        n_segments=sum(len(knots) - 1 for knots in of.knots),
        anchor=student.anchor,
        range=(student.low, student.high),
        tables={name: tuple(table.tolist()) for name, table in zip(of.feature_names, student.tables, strict=True)},
    )


def _constraints(signs: Signs) -> dict[str, str]:
    return {f"{output}_{name}": _DIRECTIONS[sign] for output, of in signs.items() for name, sign in of.items()}


def _complaint(error: ValidationError) -> str:
    """Which fields, and why, without what they hold."""
    found = error.errors(include_input=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'the document'}: {item['msg']}" for item in found)
