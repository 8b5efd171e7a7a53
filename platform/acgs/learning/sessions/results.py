"""What a finished job measured, as the service needs it: a part of `report.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

REPORT_FILE: Final = "report.json"


class _Part(BaseModel):
    # The report is the job's; it may say more.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Share(_Part):
    count: int
    n: int


class _Compliance(_Part):
    by_principle: dict[str, _Share]


class _After(_Part):
    perplexity: float | None = None
    compliance: _Compliance | None = None


class Results(_Part):
    """Figures of the trained model; None means not measured."""

    after: _After

    @property
    def perplexity(self) -> float | None:
        """On the validation rows."""
        return self.after.perplexity

    def breaches(self) -> dict[str, int]:
        """Answers that breached each principle, those without a breach left out."""
        if self.after.compliance is None:
            return {}
        shares = self.after.compliance.by_principle
        return {name: share.n - share.count for name, share in shares.items() if share.count < share.n}


def read_results(output: Path) -> Results | None:
    """The results in a job's output folder; None where it left none that can be read."""
    try:
        return Results.model_validate_json((output / REPORT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
