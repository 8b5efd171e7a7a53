"""HIPAA: protected health information and its safeguards."""

from acgs.governance.domains.healthcare.check import HealthcareCheck

__all__ = ["HealthcareCheck"]
