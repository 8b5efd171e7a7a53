"""Semantic versions and their successors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.registry.semver import MAX_CHARS, VersionPolicy, parse, precedence, successor

NUMBERS = st.integers(0, 50)
FINAL = st.builds(lambda a, b, c: parse(f"{a}.{b}.{c}"), NUMBERS, NUMBERS, NUMBERS)
CANDIDATES = st.builds(lambda v, n: parse(f"{v}-rc.{n}"), FINAL, st.integers(1, 20))


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0\n", "1.0.0-é", "\uff11.0.0"]
)
def test_what_semver_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="no semantic version") as refused:
        parse(text)
    assert refused.value.field == "version"


def test_a_version_without_end_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse("1.0.0-" + "a" * MAX_CHARS)
    assert len(refused.value.message) < 150


def test_pre_releases_order_by_number_and_come_before_their_release() -> None:
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0", "1.0.1"]
    assert [str(version) for version in sorted(map(parse, reversed(texts)))] == texts


def test_the_first_version_is_one() -> None:
    assert str(successor(None, VersionPolicy.PATCH)) == "1.0.0"
    assert str(successor(None, VersionPolicy.MINOR, prerelease="rc")) == "1.0.0-rc.1"


@pytest.mark.parametrize(
    ("current", "policy", "prerelease", "expected"),
    [
        ("1.2.3", "patch", None, "1.2.4"),
        ("1.2.3", "minor", None, "1.3.0"),
        ("1.2.3", "major", None, "2.0.0"),
        ("1.2.3", "minor", "rc", "1.3.0-rc.1"),
        ("1.3.0-rc.1", "minor", "rc", "1.3.0-rc.2"),
        ("1.3.0-rc.2", "minor", None, "1.3.0"),
        ("1.3.0-rc.2", "patch", None, "1.3.0"),
        ("1.3.0-rc.2", "major", None, "2.0.0"),
        ("1.3.1-rc.2", "minor", None, "1.4.0"),
        ("2.0.0-beta.1", "major", "rc", "2.0.0-rc.1"),
    ],
)
def test_successors(current: str, policy: str, prerelease: str | None, expected: str) -> None:
    assert str(successor(parse(current), VersionPolicy(policy), prerelease=prerelease)) == expected


@given(FINAL | CANDIDATES, st.sampled_from(VersionPolicy), st.sampled_from([None, "rc"]))
def test_a_successor_comes_after(current, policy, prerelease):  # type: ignore[no-untyped-def]
    following = successor(current, policy, prerelease=prerelease)
    assert following > current
    assert parse(str(following)) == following


def test_a_pre_release_never_goes_back_in_the_alphabet() -> None:
    with pytest.raises(InvalidInputError, match="come before"):
        successor(parse("2.0.0-rc.1"), VersionPolicy.MAJOR, prerelease="beta")


IDENTIFIERS = st.integers(0, 200).map(str) | st.from_regex(r"[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,3}", fullmatch=True)
ANY = st.builds(
    lambda core, ids, build: parse(str(core) + ("-" + ".".join(ids) if ids else "") + build),
    FINAL,
    st.lists(IDENTIFIERS, max_size=3),
    st.sampled_from(["", "+b1"]),
)


@given(ANY, ANY)
def test_the_sort_key_orders_as_the_standard_says(one, other):  # type: ignore[no-untyped-def]
    assert (precedence(one) < precedence(other)) == (one < other)
    assert (precedence(one) == precedence(other)) == (one.compare(other) == 0)
