"""Words of research with human subjects, its risks, its exemptions and the populations that need more care.

After 45 CFR 46: definitions (46.102), exempt categories (46.104), pregnant women and neonates
(subpart B), prisoners (subpart C), children (subpart D); "likely to be vulnerable to coercion" as in 46.111(b).
"""

from __future__ import annotations

from acgs.governance.domains.phrases import PhraseBook

RESEARCH = PhraseBook(
    {
        "human_subjects": (
            "human subject", "human subjects", "human participants", "study participants", "research participants",
            "study participant", "research subjects", "volunteers", "participants", "recruit", "recruiting",
            "recruited", "enroll", "enrolled", "enrolling", "enrol", "clinical trial", "clinical trials",
            "randomized trial", "randomised trial", "randomized controlled trial", "interview", "interviews",
            "interviewing", "focus group", "focus groups", "survey", "surveys", "questionnaire", "questionnaires",
            "patients", "trial subjects", "cohort study", "case-control study", "interviewees", "respondents",
            "identifiable specimens", "identifiable biospecimens", "blood samples", "tissue samples",
            "medical records", "chart review",
        ),
        "research": (
            "study", "studies", "research", "research protocol", "protocol", "trial", "experiment", "experiments",
            "experimental", "irb", "institutional review board", "ethics committee", "ethics approval",
            "hypothesis", "randomized", "randomised", "placebo", "control group", "principal investigator",
            "pilot study", "cohort", "investigational", "data collection",
        ),
        "risk": (
            "drug trial", "investigational drug", "experimental drug", "new drug", "phase 1", "phase i", "phase 2",
            "phase ii", "phase 3", "phase iii", "placebo", "investigational device", "surgery", "surgical",
            "biopsy", "biopsies", "x-ray", "radiation", "ionizing radiation", "anesthesia", "anaesthesia",
            "sedation", "gene therapy", "gene editing", "deception", "deceive", "electric shock",
            "sleep deprivation", "suicide", "suicidal", "trauma", "sexual abuse", "illegal drug use",
            "illicit drugs", "criminal behavior", "criminal behaviour", "hiv status", "invasive",
            "lumbar puncture", "genetic testing", "vaccine trial", "dose escalation", "challenge study",
            "psychological distress", "domestic violence", "withhold treatment",
        ),
        "exempt": (
            "publicly available data", "public data set", "public dataset", "public datasets",
            "de-identified data", "deidentified data", "anonymized data", "anonymised data", "anonymous survey",
            "anonymous questionnaire", "secondary analysis", "aggregate data", "taste test",
            "educational practices", "normal educational practice", "public observation", "quality improvement",
        ),
    }
)  # fmt: skip

VULNERABLE = PhraseBook(
    {
        "children": (
            "child", "children", "minors", "minor participants", "infant", "infants", "newborn", "newborns",
            "neonates", "toddlers", "adolescents", "adolescent", "teenagers", "teens", "pupils", "schoolchildren",
            "kids", "under 18", "paediatric", "pediatric", "middle school students", "high school students",
        ),
        "prisoners": ("prisoner", "prisoners", "inmate", "inmates", "incarcerated", "detainees", "parolees", "jail"),
        "pregnant_women": ("pregnant", "pregnant women", "pregnancy", "fetus", "fetuses", "foetus", "in utero"),
        "cognitively_impaired": (
            "cognitively impaired", "cognitive impairment", "dementia", "alzheimer's", "intellectual disability",
            "intellectual disabilities", "impaired decision-making", "mentally disabled", "unconscious", "comatose",
            "lack capacity", "lacks capacity", "incapacitated",
        ),
        "disadvantaged": (
            "economically disadvantaged", "educationally disadvantaged", "homeless", "refugees", "refugee",
            "asylum seekers", "undocumented immigrants", "undocumented migrants", "illiterate", "terminally ill",
            "nursing home residents",
        ),
    }
)  # fmt: skip
