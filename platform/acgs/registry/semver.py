"""Semantic versions (semver.org 2.0.0) and which part of one a change raises."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import StringConstraints
from semver import Version

from acgs.errors import InvalidInputError

MAX_CHARS: Final = 128
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]
"""A model's name: safe as a folder, an object key, a git tag and a metrics label."""
RESERVED_NAMES: Final = frozenset({"health", "metrics"})
"""Taken by routes beside `/models/{name}`."""


class VersionPolicy(StrEnum):
    """Which part of a version a change raises."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


def parse(text: str) -> Version:
    """A version; `Version` orders by precedence (pre-releases before their release, build metadata ignored).

    Raises:
        InvalidInputError: it is no semantic version, or longer than 128 characters.
    """
    if len(text) <= MAX_CHARS and Version.is_valid(text):
        return Version.parse(text)
    shown = text if len(text) <= 40 else text[:40] + "..."
    raise InvalidInputError(f"{shown!r} is no semantic version; write 1.4.0 or 2.0.0-rc.1", field="version")


def successor(current: Version | None, policy: VersionPolicy, *, prerelease: str | None = None) -> Version:
    """The version after `current`; 1.0.0 where there is none.

    Args:
        prerelease: 'rc' gives 1.1.0-rc.1, then -rc.2, until the version without it.

    Raises:
        InvalidInputError: the pre-release is no plain word, or comes before the one there is ('beta' after 'rc').
    """
    if prerelease is not None and not (prerelease.isascii() and prerelease.isalpha()):
        raise InvalidInputError("a pre-release is a word such as 'rc' or 'beta'", field="prerelease")
    if current is None:
        base = Version(1)
    elif current.prerelease and _raised_already(current, policy):
        # 2.0.0-rc.1 raised the part already: its release, and its next candidate, are still 2.0.0.
        base = current.finalize_version()
        if prerelease is not None and current.prerelease.split(".")[0] == prerelease:
            return current.bump_prerelease(prerelease)
    else:
        base = getattr(current, f"bump_{policy}")()
    following: Version = base.bump_prerelease(prerelease) if prerelease is not None else base
    if current is not None and following <= current:
        raise InvalidInputError(f"{following} would come before {current}; choose a later word", field="prerelease")
    return following


def _raised_already(candidate: Version, policy: VersionPolicy) -> bool:
    below = {
        VersionPolicy.MAJOR: (candidate.minor, candidate.patch),
        VersionPolicy.MINOR: (candidate.patch,),
        VersionPolicy.PATCH: (),
    }
    return not any(below[policy])


def precedence(version: Version) -> str:
    """Text that sorts, byte by byte, as the versions do (semver.org 2.0.0, 11); versions that differ only in build
    metadata share it.
    """
    core = "".join(_number(str(part)) for part in (version.major, version.minor, version.patch))
    if version.prerelease is None:
        return core + "~"
    identifiers = (f"0{_number(part)}!" if part.isdigit() else f"1{part}!" for part in version.prerelease.split("."))
    return f"{core}-{''.join(identifiers)}"


def _number(digits: str) -> str:
    """Digits behind their number of digits, so that 9 sorts before 10."""
    return f"{len(digits):03d}{digits}"
