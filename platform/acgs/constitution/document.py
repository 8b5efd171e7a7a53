"""The constitution as a document: principles, rules, Rego modules, domain profiles, thresholds.

Everything that changes behaviour is a field here, so that one digest covers it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Scalar = bool | int | float | str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Severity(StrEnum):
    """How much a breach weighs; only `critical` and `major` decide, `minor` advises."""

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class Principle(_Part):
    """One thing the models are held to, with the requests that drive critique and revision."""

    id: Identifier
    text: str = Field(min_length=10)
    weight: float = Field(gt=0)
    severity: Severity
    critique_request: str = Field(min_length=10)
    revision_request: str = Field(min_length=10)


class Operator(StrEnum):
    """Comparisons a clause may make. On an absent field `missing` and `ne` hold, the others do not."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"
    MISSING = "missing"


class Clause(_Part):
    """One condition over one input field, for example `context.consent_obtained eq false`."""

    field: str = Field(pattern=r"^(context|input_data|facts)(\.[a-z][a-z0-9_]*)+$")
    op: Operator
    value: Scalar | list[Scalar] | None = None

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Self:
        if self.op is Operator.MISSING and self.value is not None:
            raise ValueError("op 'missing' takes no value")
        if self.op is Operator.IN and not (isinstance(self.value, list) and self.value):
            raise ValueError("op 'in' takes a list of at least one value")
        if self.op not in (Operator.MISSING, Operator.IN) and not isinstance(self.value, Scalar):
            raise ValueError(f"op '{self.op}' takes one value")
        ordered = self.op in (Operator.LT, Operator.LE, Operator.GT, Operator.GE)
        if ordered and (isinstance(self.value, bool) or not isinstance(self.value, int | float)):
            raise ValueError(f"op '{self.op}' compares numbers")
        return self


class Rule(_Part):
    """A rule is breached when every clause of `when` holds in its scope."""

    id: Annotated[str, Field(pattern=r"^[A-Z]+-[0-9]{2,4}$")]
    scope: Identifier = Field(description="'common', a domain name or a policy-engine action")
    principle: Identifier
    severity: Severity
    message: str = Field(min_length=10)
    when: list[Clause] = Field(min_length=1)


class RegoModule(_Part):
    """Hand-written Rego that adds to `violations` of a scope's package `acgs.rules.<scope>`."""

    name: Identifier
    scope: Identifier
    source: str = Field(min_length=1)


class DomainProfile(_Part):
    """Thresholds and extra principles of a regulated domain."""

    description: str
    confidence_threshold: Fraction
    violation_threshold: Fraction
    cache_ttl: int = Field(ge=60, description="seconds")
    principles: list[Identifier] = []


class Thresholds(_Part):
    """Platform-wide limits."""

    out_of_bag_error: Fraction = 0.35
    max_correlation: Fraction = 0.5
    compliance: Fraction = 0.95


class Constitution(_Part):
    """The whole document. Cross-references are checked on construction."""

    name: Identifier
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    language: Literal["en"] = "en"
    principles: list[Principle] = Field(min_length=2)
    domains: dict[Identifier, DomainProfile]
    actions: dict[Identifier, str] = {}
    rules: list[Rule] = []
    rego: list[RegoModule] = []
    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _references_resolve(self) -> Self:
        principles = [principle.id for principle in self.principles]
        for kind, names in (("principle", principles), ("rule", [rule.id for rule in self.rules])):
            repeated = {name for name in names if names.count(name) > 1}
            if repeated:
                raise ValueError(f"{kind} ids must be unique: {sorted(repeated)}")
        if "general" not in self.domains:
            raise ValueError("domains must hold 'general', which applies where no other does")
        scopes = {"common", *self.domains, *self.actions}
        for rule in self.rules:
            if rule.principle not in principles:
                raise ValueError(f"rule {rule.id} names the unknown principle '{rule.principle}'")
            if rule.scope not in scopes:
                raise ValueError(f"rule {rule.id} names the unknown scope '{rule.scope}'")
        for module in self.rego:
            if module.scope not in scopes:
                raise ValueError(f"rego module {module.name} names the unknown scope '{module.scope}'")
        for name, profile in self.domains.items():
            unknown = set(profile.principles) - set(principles)
            if unknown:
                raise ValueError(f"domain '{name}' names unknown principles {sorted(unknown)}")
        return self

    @property
    def principle_ids(self) -> list[str]:
        """Every principle, in the order of the document (the order of features in a guard bundle)."""
        return [principle.id for principle in self.principles]

    @property
    def core_principle_ids(self) -> list[str]:
        """Principles that apply in every domain: those no domain profile claims for itself."""
        claimed = {name for profile in self.domains.values() for name in profile.principles}
        return [name for name in self.principle_ids if name not in claimed]

    def rules_in(self, *scopes: str) -> list[Rule]:
        """Rules of these scopes, in the order of the document."""
        return [rule for rule in self.rules if rule.scope in scopes]
