"""Which names a file of an artifact may have, and which files of a folder are none of the artifact's."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

SIGNATURE_FILE: Final = "model.sig"
IGNORED: Final = (".git", ".gitattributes", ".github", ".gitignore", SIGNATURE_FILE)
"""At the top of a folder only. The public `model-signing` tool leaves out the same: git's, and the signature."""
MAX_PATH_CHARS: Final = 512
MAX_PART_CHARS: Final = 255
MAX_DEPTH: Final = 16
_DRIVE: Final = re.compile(r"^[A-Za-z]:")


def is_ignored(path: str) -> bool:
    """Whether a relative posix path belongs to git or to the signature, not to the artifact."""
    return path.split("/", 1)[0] in IGNORED


def path_fault(path: str) -> str | None:
    """What is wrong with a file's relative posix path; None if nothing is."""
    parts = path.split("/")
    faults = (
        (not path, "has no name"),
        (len(path) > MAX_PATH_CHARS, f"has a name of more than {MAX_PATH_CHARS} characters"),
        (
            not path.isprintable() or "\\" in path,
            "has a control character or a backslash in its name",
        ),
        (path.startswith("/") or bool(_DRIVE.match(path)), "has an absolute name"),
        (".." in parts, "climbs out of its folder"),
        (bool({"", "."} & set(parts)), "has an empty part in its name"),
        (len(parts) > MAX_DEPTH, f"lies more than {MAX_DEPTH} folders deep"),
        (any(len(part.encode(errors="replace")) > MAX_PART_CHARS for part in parts), "has too long a part in its name"),
    )
    return next((fault for holds, fault in faults if holds), None)


def sort_key(path: str) -> tuple[str, ...]:
    """Order of the files, that of the public tool: by the parts of the path, so that a folder's files stay together."""
    return PurePosixPath(path).parts
