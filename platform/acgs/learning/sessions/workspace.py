"""The folder of a session: its data and run file, which the service writes, and the output, which the job writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from acgs.files import write_atomic
from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Record
from acgs.learning.finetune.config import RunConfig

_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """Where things of one session are."""

    root: Path
    session_id: str

    @property
    def folder(self) -> Path:
        """All that belongs to the session; only the service's user may enter."""
        return self.root / self.session_id

    @property
    def data(self) -> Path:
        """The data set that the job trains and validates on."""
        return self.folder / "data"

    @property
    def corpus(self) -> Path:
        """Public text for a tiny model's tokenizer."""
        return self.folder / "corpus.txt"

    @property
    def run_file(self) -> Path:
        """The run file that the job is started with."""
        return self.folder / "run.yaml"

    @property
    def output(self) -> Path:
        """Checkpoints, progress, adapter and reports, written by the job."""
        return self.folder / "output"

    def write(
        self, config: RunConfig, train: Sequence[Record], validation: Sequence[Record], corpus: Iterable[str]
    ) -> None:
        """Store what the job reads. The run file comes last: with it, the rest is there.

        Raises:
            InvalidInputError: the folder is taken, or cannot be written.
            OSError: the disk does not take it.
        """
        self.folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._write_data(train, validation)
        if config.base_model.tiny is not None:
            write_atomic(self.corpus, "\n".join(corpus).encode(), mode=_PRIVATE_FILE)
        self.output.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        settings = config.model_dump(mode="json", exclude_none=True)
        write_atomic(self.run_file, yaml.safe_dump(settings, sort_keys=False).encode(), mode=_PRIVATE_FILE)

    def _write_data(self, train: Sequence[Record], validation: Sequence[Record]) -> None:
        origin = rows_digest([*train, *validation])
        with DatasetWriter(self.data) as writer:
            for split, records in (("train", train), ("validation", validation)):
                for record in records:
                    writer.add(record, split)
            writer.finish(
                parents=[Parent(name="request", digest=origin)],
                origins=[origin],
                operations=[Operation(name="request", parameters={"rows": len(train) + len(validation)})],
            )


def rows_digest(records: Iterable[Record]) -> str:
    """Hex SHA-256 of what rows say, whatever their order: the same rows, sent again, have the same privacy account."""
    rows = (record.model_copy(update={"id": "row"}).line() for record in records)
    return hashlib.sha256(b"".join(sorted(rows))).hexdigest()
