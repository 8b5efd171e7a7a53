"""How commands say that a data set was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from acgs.cli.output import say, write_json

if TYPE_CHECKING:
    from acgs.learning.data.manifest import Manifest


def show_written(output: Path, manifest: Manifest, rows: int, *, as_json: bool, **more: object) -> None:
    """Say what was written where; `more` is for machines alone."""
    files = {name: entry.rows for name, entry in manifest.files.items()}
    if as_json:
        write_json({"output": str(output), "id": manifest.id, "rows": rows, "files": files, **more})
    else:
        parts = ", ".join(f"{name} {count}" for name, count in files.items())
        say(f"{rows} rows in {output} ({parts}), data set {manifest.id[:16]}")
