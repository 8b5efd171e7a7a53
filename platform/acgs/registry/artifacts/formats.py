"""Which files an artifact may hold: an allow-list by name, each confirmed by what is in the file.

Nothing is loaded to be checked. What is not listed is refused, and told by its true kind where that is known: a pickle
stays one under any name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from acgs.registry.artifacts.array_file import check_npy
from acgs.registry.artifacts.disguise import true_kind
from acgs.registry.artifacts.protobuf_files import check_onnx, check_sentencepiece
from acgs.registry.artifacts.refusal import FormatError, RefusedFileError
from acgs.registry.artifacts.safetensors_header import read_header
from acgs.registry.artifacts.skops_file import check_skops
from acgs.registry.artifacts.text_files import (
    check_json,
    check_json_lines,
    check_lightgbm,
    check_text,
    check_yaml,
)

Checker = Callable[[BinaryIO], object]
"""Raises `FormatError` if a file is not of the format; the file's position is then undefined."""

BY_SUFFIX: Final[Mapping[str, Checker]] = {
    ".safetensors": read_header,
    ".onnx": check_onnx,
    ".skops": check_skops,
    ".npy": check_npy,
    ".lgb": check_lightgbm,
    ".json": check_json,
    ".jsonl": check_json_lines,
    ".txt": check_text,
    ".md": check_text,
    ".jinja": check_text,
    ".yaml": check_yaml,
    ".yml": check_yaml,
    ".model": check_sentencepiece,
}
BY_NAME: Final[Mapping[str, Checker]] = {"LICENSE": check_text, "NOTICE": check_text, "README": check_text}


def check_file(path: str, handle: BinaryIO) -> None:
    """Look through a file; its position is then undefined.

    Raises:
        RefusedFileError: it is of no allowed format, or not of the one that its name says.
    """
    name = PurePosixPath(path)
    checker = BY_NAME.get(name.name) or BY_SUFFIX.get(name.suffix)
    try:
        if checker is None:
            known = ", ".join(sorted(BY_SUFFIX))
            raise FormatError(f"it is of no format that artifacts may hold ({known})")
        checker(handle)
    except FormatError as error:
        kind = true_kind(handle)
        disguise = f"it is {kind}, which may run code when it is loaded or hide what it holds; " if kind else ""
        raise RefusedFileError(path, f"is refused: {disguise}{error.message}") from None
