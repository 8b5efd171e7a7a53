"""Words and context keys that make a text about somebody's health, and keys that hold an identifier.

`condition` and `treatment` follow the chapters of ICD-10-CM and the headings of MeSH tree C in plain words;
`care_payment` follows the definition of health information in 45 CFR 160.103 (past, present or future health, provision
of care, payment for it). Own selection, without words that are as common elsewhere (chart, operation, admission). A
denied condition is health information too, so negation does not matter here.
"""

from __future__ import annotations

from acgs.governance.domains.identifiers import Kind
from acgs.governance.domains.phrases import PhraseBook

CLINICAL = PhraseBook(
    {
        "condition": (
            "hiv", "hiv positive", "aids", "cancer", "carcinoma", "tumor", "tumour", "leukemia", "leukaemia",
            "lymphoma", "melanoma", "diabetes", "diabetic", "insulin", "hypertension", "hypertensive",
            "blood pressure", "stroke", "heart attack", "myocardial infarction", "heart failure", "arrhythmia",
            "asthma", "copd", "pneumonia", "tuberculosis", "hepatitis", "cirrhosis", "kidney disease",
            "renal failure", "dialysis", "epilepsy", "seizure", "seizures", "dementia", "alzheimer's",
            "parkinson's", "multiple sclerosis", "depression", "bipolar", "anxiety", "schizophrenia", "ptsd",
            "suicidal", "overdose", "substance abuse", "addiction", "alcoholism", "pregnant", "pregnancy",
            "miscarriage", "abortion", "stomach pain", "chest pain", "back pain", "headache", "migraine", "fever",
            "infection", "sepsis", "covid", "covid-19", "influenza", "allergy", "allergies", "allergic", "anemia",
            "anaemia", "arthritis", "fracture", "fractured", "obesity", "syphilis", "gonorrhea", "chlamydia",
            "herpes", "disease", "illness", "disorder", "syndrome", "symptom", "symptoms", "complaining of",
            "tested positive", "hemophilia", "lupus", "crohn's", "psoriasis", "glaucoma", "autism", "adhd",
            "hypothyroidism",
        ),
        "treatment": (
            "diagnosis", "diagnosed", "diagnosed with", "diagnoses", "prognosis", "treatment", "treated for",
            "therapy", "chemotherapy", "radiotherapy", "surgery", "transplant", "biopsy", "mri", "ct scan",
            "x-ray", "ultrasound", "lab result", "lab results", "test result", "test results", "blood test",
            "viral load", "hba1c", "cholesterol", "prescription", "prescribed", "medication", "medications",
            "dosage", "metformin", "lisinopril", "atorvastatin", "warfarin", "oxycodone", "amoxicillin",
            "methadone", "vaccinated", "vaccination", "immunization", "discharged", "discharge summary",
            "progress note", "follow-up visit", "icu", "emergency department", "hospitalized", "hospitalised",
            "medical history", "medical record", "medical records", "mrn", "patient", "patient's", "patients",
            "clinical note", "rehab", "rehabilitation", "hospice", "palliative", "genetic test", "genome",
            "icd-10",
        ),
        "care_payment": (
            "health plan", "health insurance", "medical bill", "medical claim", "insurance claim", "copay",
            "co-pay", "prior authorization", "medicare", "medicaid", "deductible", "claim for treatment",
            "health coverage",
        ),
    }
)  # fmt: skip

CLINICAL_KEYS = frozenset(
    {
        "diagnosis", "diagnoses", "condition", "conditions", "symptoms", "medication", "medications", "prescription",
        "prescriptions", "treatment", "labresult", "labresults", "medicalhistory", "clinicalnote", "clinicalnotes",
        "allergies", "icd10", "icdcode", "icd10code", "cptcode", "patient", "patientid", "patientname", "mrn",
        "medicalrecordnumber", "vitals", "bloodtype", "healthplan", "encounter", "encounterid", "procedure",
        "procedures", "immunizations", "genomicdata", "viralload", "hivstatus",
    }
)  # fmt: skip
"""Folded context keys whose presence with a value makes the request clinical."""

CLINICAL_DOMAINS = frozenset({"healthcare", "health", "medical", "clinical", "hospital"})
"""Values of the context key `domain` that make the request clinical."""

IDENTIFIER_KEYS: dict[str, Kind] = {
    **dict.fromkeys(
        ("name", "fullname", "firstname", "lastname", "surname", "patientname", "membername", "maidenname"),
        Kind.PERSON_NAME
    ),
    **dict.fromkeys(("address", "streetaddress", "homeaddress", "street"), Kind.STREET_ADDRESS),
    **dict.fromkeys(("city", "county", "precinct", "town"), Kind.CITY),
    **dict.fromkeys(("zip", "zipcode", "postalcode", "postcode"), Kind.ZIP_CODE),
    **dict.fromkeys(
        ("dob", "dateofbirth", "birthdate", "birthday", "admissiondate", "dischargedate", "dateofdeath", "deathdate",
         "visitdate", "servicedate"), Kind.DATE
    ),
    **dict.fromkeys(
        ("phone", "phonenumber", "telephone", "mobile", "cellphone", "homephone", "workphone"), Kind.PHONE
    ),
    **dict.fromkeys(("fax", "faxnumber"), Kind.FAX),
    **dict.fromkeys(("email", "emailaddress"), Kind.EMAIL),
    **dict.fromkeys(("ssn", "socialsecuritynumber", "socialsecurity"), Kind.SSN),
    **dict.fromkeys(
        ("mrn", "medicalrecordnumber", "patientid", "patientnumber", "chartnumber", "nhsnumber"), Kind.MEDICAL_RECORD
    ),
    **dict.fromkeys(
        ("memberid", "membernumber", "policynumber", "beneficiaryid", "beneficiarynumber", "subscriberid", "medicareid",
         "medicaidid", "healthplanid", "insuranceid"), Kind.HEALTH_PLAN
    ),
    **dict.fromkeys(("account", "accountnumber", "accountid", "creditcard", "cardnumber", "iban"), Kind.ACCOUNT),
    **dict.fromkeys(
        ("driverslicense", "driverlicense", "licensenumber", "licencenumber", "certificatenumber", "license"),
        Kind.LICENCE,
    ),
    **dict.fromkeys(("vin", "licenseplate", "licenceplate", "plate", "vehicleid"), Kind.VEHICLE),
    **dict.fromkeys(("deviceid", "serialnumber", "deviceserial", "udi", "imei", "macaddress"), Kind.DEVICE),
    **dict.fromkeys(("url", "website", "homepage"), Kind.URL),
    **dict.fromkeys(("ip", "ipaddress", "clientip"), Kind.IP_ADDRESS),
    **dict.fromkeys(
        ("fingerprint", "voiceprint", "retinascan", "irisscan", "faceprint", "biometric", "biometrics"), Kind.BIOMETRIC
    ),
    **dict.fromkeys(("photo", "facephoto", "photograph", "faceimage", "headshot"), Kind.PHOTO),
    **dict.fromkeys(("passport", "passportnumber", "nationalid", "employeeid", "studentid", "subjectid"), Kind.OTHER),
}  # fmt: skip
"""Folded context key -> kind of the identifier that its value is."""
