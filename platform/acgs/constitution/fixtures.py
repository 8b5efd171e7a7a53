"""Fixtures: cases kept beside a constitution, with the verdict that a person worked out for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from acgs.constitution.document import Constitution, Identifier
from acgs.constitution.judging import Decide, Judge
from acgs.constitution.source import FIXTURES_NAME, read_yaml
from acgs.errors import AcgsError, InvalidInputError

TEXT_JUDGE = "guard"
"""The name under which verdicts on text are reported."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RulesExpectation(_Part):
    """What the rules must answer: leave or none, and exactly these breaches."""

    allow: bool
    rules: list[str] = []


class TextExpectation(_Part):
    """What the guard must say of a text; the `not_` forms admit `uncertain`."""

    decision: Literal["comply", "violate", "not_comply", "not_violate"]

    def met_by(self, decision: str) -> bool:
        """Whether a decision is the expected one."""
        wanted = self.decision.removeprefix("not_")
        return (decision == wanted) is (wanted == self.decision)


class Fixture(_Part):
    """One case: a structured one for the rules, or one with a `query` for the guard."""

    name: Annotated[str, Field(min_length=3)]
    domain: Identifier | None = None
    action: Identifier | None = None
    query: str | None = None
    context: dict[str, Any] = {}
    input_data: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    expect: RulesExpectation | TextExpectation

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.domain is None) is (self.action is None):
            raise ValueError("name either a domain or an action")
        if (self.query is not None) is not isinstance(self.expect, TextExpectation):
            raise ValueError("a case with a query expects a decision, one without expects allow and rules")
        if self.query is not None and (self.action or self.input_data or self.facts):
            raise ValueError("a case with a query takes a domain and a context only")
        return self

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes whose rules judge the case."""
        return ("common", self.domain or self.action or "")

    @property
    def document(self) -> dict[str, dict[str, Any]]:
        """The form that rules read."""
        return {"context": self.context, "input_data": self.input_data, "facts": self.facts}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case put to one judge. `actual` is what it answered, or why it could not."""

    fixture: str
    judge: str
    passed: bool
    expected: str
    actual: str


def read_fixtures(directory: Path, constitution: Constitution) -> list[Fixture]:
    """The fixtures beside a constitution, checked against the names in it.

    Raises:
        InvalidInputError: no file, no case, or a case that does not fit; it is named.
    """
    path = directory / FIXTURES_NAME
    try:
        fixtures = TypeAdapter(list[Fixture]).validate_python(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"{path.name}: case {where}: {first['msg']}", field=where) from error
    if not fixtures:
        raise InvalidInputError(f"{path} holds no cases", field=path.name)
    for number, fixture in enumerate(fixtures):
        _check_names(fixture, f"{path.name}: case {number} ({fixture.name})", constitution)
    return fixtures


def _check_names(fixture: Fixture, where: str, constitution: Constitution) -> None:
    """A misspelt name would make a case pass for the wrong reason."""
    if fixture.domain is not None and fixture.domain not in constitution.domains:
        raise InvalidInputError(f"{where}: unknown domain '{fixture.domain}'", field="domain")
    if fixture.action is not None and fixture.action not in constitution.actions:
        raise InvalidInputError(f"{where}: unknown action '{fixture.action}'", field="action")
    if isinstance(fixture.expect, RulesExpectation) and not constitution.rego:
        unknown = set(fixture.expect.rules) - {rule.id for rule in constitution.rules}
        if unknown:
            raise InvalidInputError(f"{where}: unknown rules {sorted(unknown)}", field="expect.rules")


def run_fixtures(fixtures: Sequence[Fixture], judges: Mapping[str, Judge], decide: Decide | None) -> Iterator[Outcome]:
    """Put every structured case to every judge, and every text to `decide` where there is one."""
    for fixture in fixtures:
        if isinstance(fixture.expect, TextExpectation):
            if decide is not None:
                yield _ask_guard(fixture, fixture.expect, decide)
            continue
        for name, judge in judges.items():
            yield _ask_rules(fixture, fixture.expect, name, judge)


def _ask_rules(fixture: Fixture, expect: RulesExpectation, name: str, judge: Judge) -> Outcome:
    wanted = _verdict(expect.allow, expect.rules)
    try:
        breaches = judge(fixture.scopes, fixture.document)
    except AcgsError as error:
        return Outcome(fixture.name, name, passed=False, expected=wanted, actual=f"no answer: {error.message}")
    actual = _verdict(all(severity == "minor" for severity in breaches.values()), breaches)
    return Outcome(fixture.name, name, passed=actual == wanted, expected=wanted, actual=actual)


def _verdict(allow: bool, rules: Sequence[str] | Mapping[str, str]) -> str:
    return f"{'allow' if allow else 'deny'} {sorted(rules)}"


def _ask_guard(fixture: Fixture, expect: TextExpectation, decide: Decide) -> Outcome:
    try:
        actual = decide(fixture.query or "", fixture.domain or "general", fixture.context)
    except AcgsError as error:
        return Outcome(fixture.name, TEXT_JUDGE, passed=False, expected=expect.decision, actual=error.message)
    return Outcome(fixture.name, TEXT_JUDGE, passed=expect.met_by(actual), expected=expect.decision, actual=actual)


def uncovered_rules(fixtures: Sequence[Fixture], constitution: Constitution) -> list[str]:
    """Rules that no case expects to be breached."""
    expected = {rule for f in fixtures if isinstance(f.expect, RulesExpectation) for rule in f.expect.rules}
    return [rule.id for rule in constitution.rules if rule.id not in expected]
