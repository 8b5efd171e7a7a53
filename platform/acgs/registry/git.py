"""What version control knows of the code that made a model, and the annotated tags that tell of versions there.

The catalogue is the index; tags are an export of it. Nothing is pushed unless that is asked for.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acgs.errors import AcgsError, InvalidInputError, UnavailableError
from acgs.registry.model_version import CodeState, VersionFacts

_TIMEOUT_SECONDS: Final = 120


class DirtyTreeError(AcgsError):
    """The working tree has changes that no commit holds."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition for tagging; `advice` says what to do where it does not hold."""

    condition: str
    holds: bool
    advice: str


def tag_name(facts: VersionFacts) -> str:
    """`{model}-v{semver}`."""
    return f"{facts.name}-v{facts.version}"


def tag_message(facts: VersionFacts) -> str:
    """The tag's message: JSON with what identifies the version outside the registry."""
    fields = {
        "model_name": facts.name,
        "version": facts.version,
        "performance_metrics": dict(facts.metrics),
        "constitutional_hash": facts.constitutional_hash,
        "timestamp": facts.created_at,
        "artifact_digest": facts.artifact_digest,
        "facts_digest": facts.digest(),
    }
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, indent=1)


class Repository:
    """The repository around a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def state(self) -> CodeState | None:
        """Commit, branch, and whether there are changes; None where there is no commit or no repository.

        Raises:
            UnavailableError: git is not installed, or does not answer.
        """
        head = self._run("rev-parse", "--verify", "--quiet", "HEAD")
        if head.returncode:
            return None
        branch = self._run("symbolic-ref", "--short", "--quiet", "HEAD").stdout.strip()
        dirty = bool(self._said("status", "--porcelain", "--untracked-files=normal"))
        return CodeState(commit=head.stdout.strip(), branch=branch[:256] or None, dirty=dirty)

    def committed_state(self, *, allow_dirty: bool = False) -> CodeState | None:
        """As `state`; a tree with changes is refused, because its commit does not tell what was run.

        Raises:
            DirtyTreeError: there are changes.
            UnavailableError: git is not installed, or does not answer.
        """
        state = self.state()
        if state is not None and state.dirty and not allow_dirty:
            raise DirtyTreeError(
                "the working tree has changes that no commit holds; commit them, or say --allow-dirty", field="code"
            )
        return state

    def readiness(self, facts: VersionFacts | None = None, *, remote: str | None = None) -> list[Finding]:
        """What tagging needs, and whether it is there."""
        state = self.state()
        identity = not self._run("var", "GIT_COMMITTER_IDENT").returncode
        findings = [
            Finding("a repository with a commit", state is not None, "run 'git init' and commit"),
            Finding("no changes outside commits", state is not None and not state.dirty, "commit or stash them"),
            Finding("a committer's name", identity, "set git's user.name and user.email"),
        ]
        if facts is not None:
            free = bool(self._run("rev-parse", "--verify", "--quiet", f"refs/tags/{tag_name(facts)}").returncode)
            findings.append(Finding(f"no tag {tag_name(facts)} yet", free, "the version is tagged already"))
            known = facts.code.commit is not None and not self._run("cat-file", "-e", facts.code.commit).returncode
            findings.append(Finding("the version's commit is here", known, "fetch the branch that made the version"))
        if remote is not None:
            reachable = not self._run("ls-remote", "--exit-code", "--heads", remote).returncode
            findings.append(Finding(f"remote {remote} answers", reachable, "check its address and your access to it"))
        return findings

    def tag(self, facts: VersionFacts) -> str:
        """Write the version's annotated tag on the commit that made it; again does nothing.

        Returns:
            The tag's name.

        Raises:
            InvalidInputError: the version has no commit, the commit is not here, or the tag says something else.
            UnavailableError: git failed.
        """
        name, commit = tag_name(facts), facts.code.commit
        if commit is None or self._run("cat-file", "-e", f"{commit}^{{commit}}").returncode:
            raise InvalidInputError(
                f"the commit of {facts.reference} is not in this repository; nothing to tag", field="code"
            )
        there = self._run("for-each-ref", "--format=%(contents)", f"refs/tags/{name}").stdout
        if there:
            if _facts_digest(there) != facts.digest():
                raise InvalidInputError(
                    f"tag {name} exists and tells of something else; look at it with git", field="tag"
                )
            return name
        self._said("tag", "--annotate", "--message", tag_message(facts), name, commit)
        return name

    def push(self, name: str, remote: str) -> None:
        """Push one tag.

        Raises:
            InvalidInputError: the remote's name is none.
            UnavailableError: the remote refused, or does not answer.
        """
        if remote.startswith("-"):
            raise InvalidInputError("a remote's name does not begin with '-'", field="remote")
        self._said("push", "--quiet", remote, f"refs/tags/{name}")

    def tags(self, name: str) -> set[str]:
        """The tags of a model."""
        return set(self._run("tag", "--list", f"{name}-v*").stdout.split())

    def _said(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            # What git says may hold an address with a password in it.
            raise UnavailableError(f"'git {words[0]}' failed; run it by hand in this repository to see why")
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - a fixed program, no shell
                ["git", "-C", str(self._folder), *words],  # noqa: S607 - git is found where the user has it
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError("git is not installed or does not answer; say --no-git to go without") from error


def _facts_digest(message: str) -> str | None:
    try:
        fields = json.loads(message)
    except ValueError:
        return None
    return fields.get("facts_digest") if isinstance(fields, Mapping) else None
