"""Words and context keys of payments, onboarding and money-laundering risk.

Own lists after the wording of 31 CFR 1010 and 1020 (customer identification, recordkeeping, travel rule) and of the
FATF Recommendations 10 (customer due diligence), 12 (politically exposed persons) and 16 (wire transfers).
"""

from __future__ import annotations

from acgs.governance.domains.phrases import PhraseBook

FINANCIAL = PhraseBook(
    {
        "onboarding": (
            "open an account", "open a new account", "opening an account", "new account", "account opening",
            "onboard a customer", "onboard the customer", "customer onboarding", "new customer", "new client",
            "client onboarding", "verify identity", "identity verification", "kyc", "know your customer",
            "customer due diligence", "beneficial owner", "beneficial ownership",
        ),
        "transfer": (
            "wire", "wire transfer", "wired", "wiring", "transfer", "transfers", "transferred", "remit",
            "remittance", "send money", "sent money", "payment to", "pay out", "payout", "swift",
            "correspondent bank", "disburse", "disbursement", "crypto transfer", "bitcoin", "usdt",
            "letter of credit", "money order",
        ),
        # Talk about the subject, and talk about doing it.
        "subject": ("money laundering", "aml", "sanctions", "ofac", "suspicious activity report", "terror financing"),
        "laundering": (
            "launder", "launder money", "smurfing", "shell company", "shell companies", "front company",
            "sanctioned party", "avoid reporting", "avoid the reporting", "avoid sanctions", "evade sanctions",
            "suspicious transaction", "below the reporting threshold", "under the reporting threshold", "hawala",
            "split the deposit", "split the deposits", "split the payment", "straw man", "nominee director",
        ),
        "cash": ("cash", "banknotes", "in cash", "cash deposit", "cash withdrawal", "bearer shares"),
        "pep": (
            "politically exposed", "politically exposed person", "pep", "head of state", "government minister",
            "member of parliament", "senior official", "ambassador",
        ),
    }
)  # fmt: skip

PARTY_KEYS = frozenset(
    (
        "customer", "customername", "client", "clientname", "counterparty", "counterpartyname", "beneficiary",
        "beneficiaryname", "beneficiaries", "beneficialowner", "beneficialowners", "originator", "originatorname",
        "sender", "sendername", "recipient", "recipientname", "payee", "payeename", "payer", "payername", "names",
        "companyname", "businessname", "vendor", "vendorname", "directors", "shareholders", "accountholder",
    )
)  # fmt: skip
"""Folded context keys whose strings are names to screen."""

COUNTERPARTY_KEYS = PARTY_KEYS - {"customer", "customername", "client", "clientname", "names", "accountholder"}
"""Folded keys that name the other side of a transaction."""

TRANSACTION_KEYS = frozenset(
    ("amount", "amounts", "transaction", "transactions", "transfer", "wire", "payment", "transactiontype")
)
TRANSFER_TYPES = frozenset(
    ("wire", "wire_transfer", "transfer", "remittance", "swift", "ach", "sepa", "crypto", "payment")
)
COUNTRY_KEYS = frozenset(
    (
        "country",
        "countrycode",
        "destinationcountry",
        "origincountry",
        "counterpartycountry",
        "beneficiarycountry",
        "nationality",
    )
)
