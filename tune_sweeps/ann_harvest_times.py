"""Every single time that an ANN harvest measured, a file a trial, so that its figures can be worked out again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from acgs.errors import IntegrityError
from acgs.files import write_atomic
from acgs.retrieval.harvest import Measured
from tune_sweeps.ann_harvest_config import HarvestRow

MEASURED: Final = "measured"
_ARRAYS: Final = ("overlaps", "cold_ms", "warm_ms", "baseline_cold_ms", "baseline_warm_ms")


def write_measured(output: Path, number: int, measured: Measured) -> None:
    """Keep every single time of a trial, so that the figures can be worked out again."""
    arrays = {name: np.asarray(getattr(measured, name)) for name in _ARRAYS}
    write_atomic(_arrays_of(output, number), save(arrays))


def read_measured(output: Path, row: HarvestRow) -> Measured:
    """A finished trial as it was measured, without the documents that it found.

    Raises:
        IntegrityError: its times are gone or damaged.
    """
    path = _arrays_of(output, row.trial.number)
    try:
        arrays = load_file(path)
        assert row.figures is not None and row.recall_at_10 is not None
        return Measured(
            setting=row.trial.setting,
            recall=row.recall_at_10,
            build_seconds=row.figures.build_cpu_seconds,
            memory_bytes=row.figures.memory_bytes,
            found=(),
            **{name: arrays[name] for name in _ARRAYS},
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise IntegrityError(f"{path} is gone or damaged; name another output", field="output") from error


def _arrays_of(output: Path, number: int) -> Path:
    return output / MEASURED / f"{number:04d}.safetensors"
