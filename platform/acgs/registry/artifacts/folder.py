"""Comparing a folder on disk with the files that it should hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from acgs.registry.artifacts.source import SourceFile, opened, source_files
from acgs.registry.artifacts.transfer import WORKERS

_BLOCK_BYTES: Final = 1 << 20


def folder_differences(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """What in a folder is not as `expected` (path to SHA-256) says, every file read and hashed; empty if all is.

    Git's files and the signature at the top are left out, as the public `model-signing` tool does.

    Raises:
        InvalidInputError: the folder holds a link, a device or a name that no artifact may have, or nothing.
    """
    files = {file.path: file for file in source_files(folder)}
    differences = [f"{path!r} is missing" for path in sorted(expected.keys() - files.keys())]
    differences += [f"{path!r} does not belong here" for path in sorted(files.keys() - expected.keys())]
    common = [path for path in files if path in expected]
    with ThreadPoolExecutor(WORKERS) as pool:
        digests = dict(zip(common, pool.map(lambda path: file_sha256(files[path]), common), strict=True))
    differences += [f"{path!r} has other bytes" for path in common if digests[path] != expected[path]]
    return differences


def file_sha256(file: SourceFile) -> str:
    """SHA-256 of a file's bytes, 64 hex digits. Raises `ChangedFileError` if it changes meanwhile."""
    with opened(file) as handle:
        digest = hashlib.sha256()
        while block := handle.read(_BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()
