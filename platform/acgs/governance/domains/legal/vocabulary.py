"""Words that call for a lawyer: agreements, disputes, advice on somebody's case, regulators, deadlines.

Own lists; the groups follow the usual intake categories of in-house legal departments. Liability words are those
after which somebody may have to pay or answer: claims, breach, injury, indemnity, penalties.
"""

from __future__ import annotations

from acgs.governance.domains.phrases import PhraseBook

LEGAL = PhraseBook(
    {
        "contract": (
            "contract", "contracts", "agreement", "agreements", "nda", "non-disclosure agreement",
            "terms of service", "terms and conditions", "lease", "licence agreement", "license agreement", "msa",
            "statement of work", "service level agreement", "sign the contract", "contract clause", "clause",
            "clauses", "amendment", "power of attorney", "settlement agreement", "employment contract",
            "data processing agreement", "memorandum of understanding", "term sheet", "merger", "acquisition",
        ),
        "litigation": (
            "lawsuit", "lawsuits", "litigation", "sue", "suing", "sued", "court", "plaintiff", "defendant",
            "subpoena", "subpoenaed", "summons", "deposition", "arbitration", "class action", "injunction",
            "legal hold", "cease and desist", "legal claim", "small claims", "settlement", "indictment",
            "prosecution", "testify",
        ),
        "advice": (
            "legal advice", "is it legal", "is it lawful", "my rights", "legal rights", "can i sue",
            "should i sue", "legal opinion", "am i liable", "attorney", "lawyer", "legal counsel", "divorce",
            "custody", "immigration case", "visa denial", "deportation", "bankruptcy", "probate", "draft a will",
            "criminal charge", "criminal charges", "plead guilty", "wrongful termination", "patent application",
            "copyright infringement", "trademark",
        ),
        "regulator": (
            "regulator", "regulatory filing", "regulatory inquiry", "investigation by", "gdpr", "ccpa",
            "sec filing", "ftc", "antitrust", "data breach notification", "consent decree", "export control",
            "whistleblower", "regulatory compliance", "enforcement action", "eu ai act",
        ),
        "deadline": (
            "statute of limitations", "filing deadline", "court deadline", "deadline to respond", "respond by",
            "time-barred", "notice period", "limitation period",
        ),
        "liability": (
            "liable", "am i liable", "liability", "damages", "negligence", "negligent", "malpractice",
            "breach of contract",
            "breach", "indemnify", "indemnity", "indemnification", "penalty", "penalties", "fine of", "injury",
            "injured", "wrongful death", "wrongful termination", "defamation", "libel", "slander", "fraud",
            "infringement", "class action", "lawsuit", "sued", "sue", "can i sue",
            "should i sue", "discrimination", "harassment",
            "product recall", "guarantee outcome", "data breach",
        ),
    }
)  # fmt: skip

REVIEW_LABELS = frozenset({"contract", "litigation", "advice", "regulator", "deadline"})
"""Labels any of which makes a legal review necessary."""
