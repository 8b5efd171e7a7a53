"""What an identifier finding is: a kind, a place, a score. The text itself is never kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SafeHarborClass(StrEnum):
    """The 18 identifier classes of 45 CFR 164.514(b)(2)(i)(A) to (R), in the order of the rule."""

    NAME = "name"
    GEOGRAPHY = "geographic_subdivision"
    DATE = "date"
    PHONE = "telephone_number"
    FAX = "fax_number"
    EMAIL = "email_address"
    SSN = "social_security_number"
    MEDICAL_RECORD = "medical_record_number"
    HEALTH_PLAN = "health_plan_beneficiary_number"
    ACCOUNT = "account_number"
    LICENCE = "certificate_or_licence_number"
    VEHICLE = "vehicle_identifier"
    DEVICE = "device_identifier"
    URL = "url"
    IP_ADDRESS = "ip_address"
    BIOMETRIC = "biometric_identifier"
    PHOTO = "full_face_photograph"
    OTHER = "other_unique_identifier"


class Kind(StrEnum):
    """What a recognizer found; finer and wider than the Safe Harbor classes."""

    PERSON_NAME = "person_name"
    STREET_ADDRESS = "street_address"
    CITY = "city"
    ZIP_CODE = "zip_code"
    DATE = "date"
    WEEKDAY = "weekday"
    YEAR = "year"
    AGE = "age"
    AGE_OVER_89 = "age_over_89"
    PHONE = "phone"
    FAX = "fax"
    EMAIL = "email"
    SSN = "ssn"
    MEDICAL_RECORD = "medical_record"
    HEALTH_PLAN = "health_plan"
    CREDIT_CARD = "credit_card"
    IBAN = "iban"
    ACCOUNT = "account"
    DRIVER_LICENCE = "driver_licence"
    LICENCE = "licence"
    VEHICLE = "vehicle"
    DEVICE = "device"
    URL = "url"
    IP_ADDRESS = "ip_address"
    BIOMETRIC = "biometric"
    PHOTO = "photo"
    OTHER = "other"


# None: a bare year, a day of the week and an age up to 89 may stay in de-identified data.
SAFE_HARBOR_CLASS: dict[Kind, SafeHarborClass | None] = {
    Kind.PERSON_NAME: SafeHarborClass.NAME,
    Kind.STREET_ADDRESS: SafeHarborClass.GEOGRAPHY,
    Kind.CITY: SafeHarborClass.GEOGRAPHY,
    Kind.ZIP_CODE: SafeHarborClass.GEOGRAPHY,
    Kind.DATE: SafeHarborClass.DATE,
    Kind.WEEKDAY: None,
    Kind.YEAR: None,
    Kind.AGE: None,
    Kind.AGE_OVER_89: SafeHarborClass.DATE,
    Kind.PHONE: SafeHarborClass.PHONE,
    Kind.FAX: SafeHarborClass.FAX,
    Kind.EMAIL: SafeHarborClass.EMAIL,
    Kind.SSN: SafeHarborClass.SSN,
    Kind.MEDICAL_RECORD: SafeHarborClass.MEDICAL_RECORD,
    Kind.HEALTH_PLAN: SafeHarborClass.HEALTH_PLAN,
    Kind.CREDIT_CARD: SafeHarborClass.ACCOUNT,
    Kind.IBAN: SafeHarborClass.ACCOUNT,
    Kind.ACCOUNT: SafeHarborClass.ACCOUNT,
    Kind.DRIVER_LICENCE: SafeHarborClass.LICENCE,
    Kind.LICENCE: SafeHarborClass.LICENCE,
    Kind.VEHICLE: SafeHarborClass.VEHICLE,
    Kind.DEVICE: SafeHarborClass.DEVICE,
    Kind.URL: SafeHarborClass.URL,
    Kind.IP_ADDRESS: SafeHarborClass.IP_ADDRESS,
    Kind.BIOMETRIC: SafeHarborClass.BIOMETRIC,
    Kind.PHOTO: SafeHarborClass.PHOTO,
    Kind.OTHER: SafeHarborClass.OTHER,
}


@dataclass(frozen=True, slots=True)
class IdentifierSpan:
    """Characters `start` to `end` (half open, in code points) look like `kind`; `score` in 0..1 orders rivals."""

    kind: Kind
    start: int
    end: int
    score: float

    @property
    def safe_harbor_class(self) -> SafeHarborClass | None:
        """The class of 45 CFR 164.514(b)(2), or None where the rule lets the element stay."""
        return SAFE_HARBOR_CLASS[self.kind]


def resolve_overlaps(spans: list[IdentifierSpan]) -> list[IdentifierSpan]:
    """Keep, of spans that share a character, the one of highest score, then the longest; sorted by start."""
    if len(spans) < 2:
        return list(spans)
    ranked = sorted(spans, key=lambda span: (-span.score, span.start - span.end, span.start, span.kind))
    taken: set[int] = set()
    kept: list[IdentifierSpan] = []
    for span in ranked:
        # Recognizers bound the length of their spans, so the walk stays linear in the text.
        positions = range(span.start, span.end)
        if not taken.isdisjoint(positions):
            continue
        taken.update(positions)
        kept.append(span)
    return sorted(kept, key=lambda span: span.start)
