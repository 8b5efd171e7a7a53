"""Why a file or folder is not taken in."""

from __future__ import annotations

from acgs.errors import AcgsError, InvalidInputError


class RefusedFileError(InvalidInputError):
    """A file that no artifact may hold; the message names it and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        shown = path if len(path) <= 200 else path[:200] + "..."
        super().__init__(f"{shown!r} {reason}", field="artifact")


class FormatError(AcgsError):
    """The bytes of a file are not of the format that its name says. Raised by the checkers, which know no name."""

    code = "validation"


class ChangedFileError(InvalidInputError):
    """A source file changed while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} changed while it was read; wait until it is written and put it again", field=path)
