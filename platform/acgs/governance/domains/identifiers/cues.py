"""Words that announce an identifier ("my card", "MRN", "zip code"), by what they announce.

The lists are our own, written from the wording of 45 CFR 164.514(b)(2) and of everyday forms and letters.
"""

from __future__ import annotations

from acgs.governance.domains.phrases import PhraseBook

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

CUES = PhraseBook(
    {
        "month": MONTHS,
        "weekday": WEEKDAYS,
        "card": (
            "card", "credit card", "debit card", "card number", "cc", "visa", "mastercard", "amex",
            "american express", "maestro", "diners club", "discover card",
        ),
        "phone": (
            "phone", "phones", "telephone", "tel", "mobile", "cell", "cellphone", "cell phone", "call",
            "call me", "calls", "calling", "called", "dial", "dialed", "dialled", "ring", "contact", "text",
            "texted", "sms", "whatsapp", "reach", "reached", "reachable", "messages", "message", "desk",
            "office", "landline", "line", "hotline", "helpline", "number", "numbers", "ph", "phoned", "pager",
            "voicemail", "answer", "emergency contact", "home", "work",
        ),
        "fax": (
            "fax", "facsimile", "fax number", "telefax",
        ),
        "zip": (
            "zip", "zipcode", "zip code", "postal code", "postcode", "post code", "postal", "plz",
        ),
        "ssn": (
            "ssn", "social security", "social security number", "social security no", "ss#", "itin", "tax id",
        ),
        "medical_record": (
            "mrn", "medical record", "medical record number", "medical record no", "health record number",
            "patient id", "patient identifier", "patient number", "patient no", "chart number",
            "hospital number", "nhs number", "encounter id", "accession number", "record number",
        ),
        "health_plan": (
            "member id", "member number", "policy number", "beneficiary number", "beneficiary id",
            "health plan number", "health plan id", "insurance id", "insurance number", "medicare number",
            "medicare id", "mbi", "medicaid id", "medicaid number", "subscriber id", "subscriber number",
            "group number", "health card number",
        ),
        "account": (
            "account", "account number", "account no", "acct", "acct no", "bank account", "account id",
            "customer id", "customer number", "routing number", "sort code",
        ),
        "driver_licence": (
            "driver's license", "drivers license", "driver license", "driving license", "driver's licence",
            "drivers licence", "driving licence", "driver's license number", "driver license number",
            "drivers license number", "dl number", "dl no",
        ),
        "licence": (
            "license number", "licence number", "certificate number", "certificate no", "license no",
            "licence no", "medical license", "npi", "dea number", "registration number", "permit number",
        ),
        "vehicle": (
            "vin", "vehicle identification number", "license plate", "licence plate", "number plate",
            "plate number", "plate", "registration plate", "vehicle registration", "chassis number",
        ),
        "device": (
            "serial number", "serial no", "device id", "device identifier", "device serial", "device number",
            "udi", "imei", "pacemaker serial", "implant serial", "lot number",
        ),
        "biometric": (
            "fingerprint", "fingerprints", "finger print", "voiceprint", "voice print", "faceprint",
            "retina scan", "retinal scan", "iris scan", "palm print", "biometric template",
        ),
        "photo": (
            "full-face photo", "full face photo", "full-face photograph", "full face photograph", "headshot",
            "face photo", "photo of her face", "photo of his face", "photo of the patient", "facial image",
            "patient photo", "photograph of the patient",
        ),
        "other": (
            "passport", "passport number", "passport no", "national id", "national insurance number", "nino",
            "identity card", "id number", "employee id", "student id", "case number", "trial subject id",
            "subject id",
        ),
        "title": (
            "mr", "mrs", "ms", "miss", "mx", "dr", "doctor", "prof", "professor", "sir", "madam", "rev",
        ),
        "name": (
            "name", "name is", "my name is", "first name", "last name", "surname", "full name", "named",
            "maiden name", "i am", "i'm", "this is", "it's", "dear", "hello", "hi", "hey", "sincerely",
            "regards", "best regards", "kind regards", "cheers", "thanks", "signed", "attn", "ask for", "called",
            "contact", "goes by", "known as", "speak to", "spoke with", "meet", "written by", "directed by",
            "sung by",
        ),
        "patient": (
            "patient", "pt", "patient name", "client", "resident", "subject", "participant", "mother of",
            "son of", "daughter of", "husband", "wife", "spouse", "beneficiary", "guardian", "policyholder",
        ),
        "address": (
            "address", "address is", "addresses", "residence", "lives at", "live at", "living at", "resides at",
            "residing at", "located at", "located in", "is at", "it is", "it is in", "home is",
            "office is at", "corner of", "stay at", "staying at", "meet at", "arrive at",
            "arrived at", "come to", "go to", "drive to", "moved to", "directions to", "sent to",
            "send to", "deliver to", "delivered to", "ship to", "shipped to", "mail to", "mailed to",
        ),
    }
)  # fmt: skip

PHONE = frozenset({"phone", "fax"})
CARD = frozenset({"card"})
ZIP = frozenset({"zip"})
SSN = frozenset({"ssn"})
ADDRESS = frozenset({"address"})
