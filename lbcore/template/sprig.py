"""The pure functions of sprig, `env`, and hashes of passwords. Source: https://masterminds.github.io/sprig.

Functions that depend on the time, on chance, on the network or on keys are missing, and are refused by name.
"""

from __future__ import annotations

from lbcore.template.functions.choices import CHOICES
from lbcore.template.functions.encodings import ENCODINGS
from lbcore.template.functions.lists import LISTS
from lbcore.template.functions.maps import MAPS
from lbcore.template.functions.numbers import NUMBERS
from lbcore.template.functions.paths import PATHS
from lbcore.template.functions.patterns import PATTERNS
from lbcore.template.functions.text import TEXT

MISSING = frozenset(  # functions of sprig
    (
        "ago", "date", "dateInZone", "dateModify", "date_in_zone", "date_modify", "duration", "durationRound",
        "htmlDate", "htmlDateInZone", "mustDateModify", "mustToDate", "must_date_modify", "now", "toDate",
        "unixEpoch", "shuffle", "randAlpha", "randAlphaNum", "randAscii", "randBytes", "randInt", "randNumeric",
        "uuidv4", "getHostByName", "derivePassword", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
        "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "buildCustomCert", "encryptAES",
        "decryptAES",
    )
)  # fmt: skip

SPRIG = {**TEXT, **PATTERNS, **LISTS, **MAPS, **NUMBERS, **CHOICES, **PATHS, **ENCODINGS}
