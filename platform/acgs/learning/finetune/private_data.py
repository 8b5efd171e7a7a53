"""What must not touch the data that a private phase protects: other phases, and a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from acgs.errors import InvalidInputError
from acgs.learning.data.dataset import Dataset
from acgs.learning.data.manifest import file_digest
from acgs.learning.finetune.config import RunConfig


def keep_off_private_data(run: RunConfig, datasets: Sequence[Dataset]) -> None:
    """Refuse a run that reads its private data where nothing protects it. `datasets` are those of the phases.

    Raises:
        InvalidInputError: a phase without privacy, or the tokenizer, reads it.
    """
    private = [dataset for phase, dataset in zip(run.phases, datasets, strict=True) if phase.private]
    protected = {origin for dataset in private for origin in dataset.manifest.origins}
    for phase, dataset in zip(run.phases, datasets, strict=True):
        if not phase.private and protected.intersection(dataset.manifest.origins):
            raise InvalidInputError(
                f"the {phase.kind} phase reads {phase.data.name} without privacy, which stems from the same data as "
                "the private phase; give it other data",
                field="phases",
            )
    _refuse_private_tokenizer(run, private)


def _refuse_private_tokenizer(run: RunConfig, private: Sequence[Dataset]) -> None:
    """A tokenizer trained on private data carries its words: no file of it, and nothing that it was made from.

    A part of the data that was copied elsewhere is not known again.
    """
    if run.base_model.tiny is None:
        return
    corpus = run.base_model.tiny.corpus.resolve()
    folders = {phase.data.resolve() for phase in run.phases if phase.private}
    known = {entry.sha256 for dataset in private for entry in dataset.manifest.files.values()}
    known.update(origin for dataset in private for origin in dataset.manifest.origins)
    if folders.intersection(corpus.parents) or (known and corpus.is_file() and file_digest(corpus) in known):
        raise InvalidInputError(
            f"{corpus.name} belongs to the private data; a tokenizer trained on it leaks its words: name public text "
            "as the corpus",
            field="base_model.tiny.corpus",
        )
