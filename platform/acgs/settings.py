"""One settings tree, read once at the edge from the environment.

Names are those of the published contracts (`RATE_LIMIT_BURST_CAPACITY`, `HEALTHCARE_CONFIDENCE_THRESHOLD`, ...);
ours carry the prefix `ACGS_`. Nothing below the edge reads the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from acgs.errors import InvalidInputError, first_fault

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class EnvironmentSettings(BaseSettings):
    """Settings that the environment names."""

    def __init__(self, **values: Any) -> None:
        """Read the environment.

        Raises:
            InvalidInputError: naming the variable that cannot be used; its value is not repeated.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            name, fault = first_fault(error, whole="settings")
            raise InvalidInputError(f"setting {name}: {fault}", field=name) from None

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Settings(EnvironmentSettings):
    """Everything a deployment may set. Unset means a local, offline installation that serves on loopback."""

    # Where things are.
    state_dir: Path = Field(Path(".acgs"), alias="ACGS_STATE_DIR", description="audit log, keys, caches")
    constitution_path: Path | None = Field(None, alias="ACGS_CONSTITUTION", description="default: the shipped one")
    bundle_path: Path | None = Field(None, alias="ACGS_GUARD_BUNDLE", description="default: the shipped one")
    second_tier_adapter: Path | None = Field(
        None,
        alias="ACGS_SECOND_TIER_ADAPTER",
        description="adapter of 'acgs train guard-adapter', scored beside the tiers",
    )
    sanctions_list: Path | None = Field(None, alias="ACGS_SANCTIONS_LIST", description="CSV, XML or JSONL list")

    # Secrets come as files or environment values and are never printed.
    signing_key_path: Path | None = Field(None, alias="ACGS_SIGNING_KEY", description="Ed25519 PEM, mode 0600")
    pii_digest_key: SecretStr | None = Field(None, alias="ACGS_PII_DIGEST_KEY", description="keys PII digests")
    redis_url: SecretStr | None = Field(None, alias="REDIS_URL", description="shared cache; default: in process")

    # Who may do what.
    token_issuer: str = Field("acgs", alias="ACGS_TOKEN_ISSUER", description="claim iss of the tokens that count")
    token_audience: str = Field("acgs", alias="ACGS_TOKEN_AUDIENCE", description="claim aud of the tokens that count")
    jwks_path: Path | None = Field(
        None, alias="ACGS_JWKS", description="public keys of tokens, JWKS; default: those of 'acgs token'"
    )
    token: SecretStr | None = Field(None, alias="ACGS_TOKEN", description="who acts at the terminal")
    token_file: Path | None = Field(None, alias="ACGS_TOKEN_FILE", description="the same as a file, mode 0600")
    lockout_failures: int = Field(
        10, alias="ACGS_LOCKOUT_FAILURES", ge=0, le=1000, description="a minute; 0: none, where all share one address"
    )

    database_url: SecretStr | None = Field(
        None, alias="ACGS_DATABASE_URL", description="PostgreSQL by URL; default: SQLite in the state directory"
    )

    # Artifacts of model versions.
    artifacts: str | None = Field(
        None, alias="ACGS_ARTIFACTS", description="folder or s3://bucket/prefix; default: in the state directory"
    )
    s3_endpoint: str | None = Field(None, alias="ACGS_S3_ENDPOINT", description="of a store other than Amazon's")
    artifact_key: str | None = Field(
        None, alias="ACGS_ARTIFACT_KEY", description="key file (mode 0600) or awskms:<key>; default: made on first use"
    )

    release_policy_path: Path | None = Field(
        None, alias="ACGS_RELEASE_POLICY", description="YAML or JSON that only its owner may write; default: built in"
    )
    max_upload_bytes: int = Field(
        2 * 1024**3, alias="ACGS_MAX_UPLOAD_BYTES", ge=1, description="of a model folder sent over HTTP, as a tar"
    )
    staging_seconds: float = Field(
        600.0, alias="ACGS_STAGING_SECONDS", gt=0, le=86_400, description="a staging or contract may take"
    )
    webhook_secret_path: Path | None = Field(
        None,
        alias="ACGS_WEBHOOK_SECRET",
        description="file (mode 0600) that signs deliveries; default: made on first use",
    )

    # The decision.
    governance_mode: Literal["basic", "comprehensive", "production", "audit"] = Field(
        "production", alias="GOVERNANCE_MODE"
    )
    confidence_threshold: Fraction | None = Field(None, alias="CONFIDENCE_THRESHOLD")
    healthcare_confidence_threshold: Fraction | None = Field(None, alias="HEALTHCARE_CONFIDENCE_THRESHOLD")
    finance_confidence_threshold: Fraction | None = Field(None, alias="FINANCE_CONFIDENCE_THRESHOLD")
    research_confidence_threshold: Fraction | None = Field(None, alias="RESEARCH_CONFIDENCE_THRESHOLD")
    legal_confidence_threshold: Fraction | None = Field(None, alias="LEGAL_CONFIDENCE_THRESHOLD")
    cache_ttl: int | None = Field(None, alias="CACHE_TTL", ge=60, description="seconds; default: the domain's")
    cache_size: int = Field(100_000, alias="ACGS_CACHE_SIZE", ge=1)
    timeout_seconds: float = Field(
        30.0, alias="TIMEOUT_SECONDS", ge=5, le=300, description="for the second tier, all tries together"
    )
    max_retries: int = Field(3, alias="MAX_RETRIES", ge=1, le=10, description="tries of the second tier")
    rule_engine: Literal["rego", "cedar", "clauses"] = Field("rego", alias="ACGS_RULE_ENGINE")
    rule_timeout_seconds: float = Field(0.25, alias="ACGS_RULE_TIMEOUT_SECONDS", gt=0)
    audit_durability: Literal["os", "fsync"] = Field("os", alias="AUDIT_DURABILITY")

    # Limits at the door.
    rate_limit_requests_per_second: float = Field(10.0, alias="RATE_LIMIT_REQUESTS_PER_SECOND", gt=0)
    rate_limit_burst_capacity: int = Field(20, alias="RATE_LIMIT_BURST_CAPACITY", ge=1)
    max_query_chars: int = Field(32_768, alias="ACGS_MAX_QUERY_CHARS", ge=1)
    max_body_bytes: int = Field(524_288, alias="ACGS_MAX_BODY_BYTES", ge=1)
    max_context_depth: int = Field(16, alias="ACGS_MAX_CONTEXT_DEPTH", ge=1)
    max_batch_size: int = Field(256, alias="ACGS_MAX_BATCH_SIZE", ge=1)

    # Observability.
    enable_prometheus_metrics: bool = Field(True, alias="ENABLE_PROMETHEUS_METRICS")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", alias="LOG_LEVEL")
    p99_target_ms: float = Field(5.0, alias="GOVERNANCE_P99_TARGET_MS", gt=0)
    throughput_target: float = Field(100.0, alias="GOVERNANCE_THROUGHPUT_TARGET", gt=0)
    cache_hit_target: Fraction = Field(0.85, alias="GOVERNANCE_CACHE_HIT_TARGET")
    error_rate_target: Fraction = Field(0.01, alias="GOVERNANCE_ERROR_RATE_TARGET")
    compliance_target: Fraction = Field(1.0, alias="GOVERNANCE_COMPLIANCE_TARGET")
