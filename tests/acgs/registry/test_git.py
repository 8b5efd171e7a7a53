"""Commits and annotated tags, in real repositories."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from acgs.errors import InvalidInputError, UnavailableError
from acgs.registry.git import DirtyTreeError, Repository
from acgs.registry.model_version import CodeState, VersionFacts


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "code"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch", "main")
    git(place, "config", "user.name", "Mia")
    git(place, "config", "user.email", "mia@example.org")
    (place / "train.py").write_text("print(1)\n")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "-m", "first")
    return place


def facts(code: CodeState | None, version: str = "1.0.0") -> VersionFacts:
    return VersionFacts(
        name="triage",
        version=version,
        kind="files",
        artifact_digest="a" * 64,
        artifact_bytes=1,
        constitution_digest="c" * 64,
        constitutional_hash="cdd01ef066bc6cf2",
        created_at="2026-11-01T00:00:00.000000Z",
        created_by="mia",
        code=code or CodeState(),
        metrics={"accuracy": 0.9},
    )


def test_a_clean_tree_tells_commit_and_branch(folder: Path) -> None:
    state = Repository(folder).committed_state()
    assert state == CodeState(commit=git(folder, "rev-parse", "HEAD"), branch="main", dirty=False)


@pytest.mark.parametrize("change", ["edit", "new file"])
def test_changes_that_no_commit_holds_are_refused_unless_told(folder: Path, change: str) -> None:
    (folder / ("train.py" if change == "edit" else "other.py")).write_text("print(2)\n")
    with pytest.raises(DirtyTreeError, match="--allow-dirty"):
        Repository(folder).committed_state()
    state = Repository(folder).committed_state(allow_dirty=True)
    assert state is not None
    assert state.dirty


def test_outside_of_a_repository_there_is_no_state(tmp_path: Path) -> None:
    assert Repository(tmp_path).state() is None


def test_a_tag_is_annotated_and_tells_of_the_version_as_json(folder: Path) -> None:
    repository = Repository(folder)
    version = facts(repository.state())
    assert repository.tag(version) == repository.tag(version) == "triage-v1.0.0"
    assert git(folder, "cat-file", "-t", "triage-v1.0.0") == "tag"
    told = json.loads(git(folder, "for-each-ref", "--format=%(contents)", "refs/tags/triage-v1.0.0"))
    assert told["facts_digest"] == version.digest()
    assert told["performance_metrics"] == {"accuracy": 0.9}
    assert repository.tags("triage") == {"triage-v1.0.0"}


def test_a_tag_that_tells_of_something_else_stays_as_it_is(folder: Path) -> None:
    repository = Repository(folder)
    git(folder, "tag", "-a", "triage-v1.0.0", "-m", "by hand")
    with pytest.raises(InvalidInputError, match="something else"):
        repository.tag(facts(repository.state()))
    assert git(folder, "for-each-ref", "--format=%(contents)", "refs/tags/triage-v1.0.0") == "by hand"


def test_a_version_without_its_commit_here_is_not_tagged(folder: Path) -> None:
    for code in (None, CodeState(commit="f" * 40)):
        with pytest.raises(InvalidInputError, match="not in this repository"):
            Repository(folder).tag(facts(code))


def test_nothing_is_pushed_but_the_tag_that_was_asked_for(folder: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git(folder, "init", "--quiet", "--bare", str(remote))
    git(folder, "remote", "add", "origin", str(remote))
    repository = Repository(folder)
    for version in ("1.0.0", "1.1.0"):
        repository.tag(facts(repository.state(), version))
    repository.push("triage-v1.1.0", "origin")
    assert git(remote, "tag", "--list") == "triage-v1.1.0"
    assert git(remote, "branch", "--list") == ""


def test_a_push_that_fails_repeats_no_address(folder: Path) -> None:
    git(folder, "remote", "add", "origin", "https://user:secret@127.0.0.1:1/none.git")
    with pytest.raises(UnavailableError) as failed:
        Repository(folder).push("triage-v1.0.0", "origin")
    assert "secret" not in failed.value.message
    with pytest.raises(InvalidInputError):
        Repository(folder).push("triage-v1.0.0", "--upload-pack=touch x")


def test_readiness_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    repository = Repository(folder)
    assert all(finding.holds for finding in repository.readiness(facts(repository.state())))
    (folder / "train.py").write_text("print(2)\n")
    git(folder, "tag", "-a", "triage-v1.0.0", "-m", "taken")
    missing = [f.condition for f in repository.readiness(facts(repository.state()), remote="nowhere") if not f.holds]
    assert missing == ["no changes outside commits", "no tag triage-v1.0.0 yet", "remote nowhere answers"]
    assert not Repository(tmp_path).readiness()[0].holds
