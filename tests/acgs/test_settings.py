from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from acgs.errors import InvalidInputError
from acgs.settings import Settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        if field.alias:
            monkeypatch.delenv(field.alias, raising=False)


def test_unset_means_local_and_with_the_contracts_defaults() -> None:
    settings = Settings()
    assert (settings.redis_url, settings.constitution_path, settings.bundle_path) == (None, None, None)
    assert (settings.governance_mode, settings.rate_limit_burst_capacity, settings.max_retries) == ("production", 20, 3)


def test_values_come_from_the_names_of_the_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHCARE_CONFIDENCE_THRESHOLD", "0.9")
    monkeypatch.setenv("ACGS_STATE_DIR", "elsewhere")
    monkeypatch.setenv("AUDIT_DURABILITY", "fsync")
    settings = Settings()
    assert settings.healthcare_confidence_threshold == 0.9
    assert settings.state_dir == Path("elsewhere")
    assert settings.audit_durability == "fsync"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONFIDENCE_THRESHOLD", "1.01"),
        ("CACHE_TTL", "59"),
        ("TIMEOUT_SECONDS", "4"),
        ("TIMEOUT_SECONDS", "301"),
        ("MAX_RETRIES", "11"),
        ("RATE_LIMIT_REQUESTS_PER_SECOND", "0"),
        ("GOVERNANCE_MODE", "lenient"),
        ("AUDIT_DURABILITY", "none"),
        ("ACGS_RULE_TIMEOUT_SECONDS", "0"),
    ],
)
def test_a_value_out_of_range_refuses_to_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError, match=name):
        Settings()


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACGS_PII_DIGEST_KEY", "do-not-show")
    monkeypatch.setenv("REDIS_URL", "redis://:do-not-show@host")
    settings = Settings()
    assert "do-not-show" not in f"{settings!r} {settings} {settings.model_dump()}"
    assert settings.pii_digest_key is not None
    assert settings.pii_digest_key.get_secret_value() == "do-not-show"


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError):
        Settings().max_retries = 5
