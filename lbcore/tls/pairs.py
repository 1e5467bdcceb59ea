"""A cache of certificates with their keys: a reload checks and compiles a configuration several times.

Parsing one takes milliseconds. Pairs in use, and the most recent ones, are found by their content; no other key stays
in memory.
"""

from __future__ import annotations

import hashlib
from collections import deque
from weakref import WeakValueDictionary

from lbcore.tls.certificate import Pair

RECENT = 1024  # pairs that are kept between reading, checking and compiling, before a configuration uses them

_in_use: WeakValueDictionary[bytes, Pair] = WeakValueDictionary()
_recent: deque[Pair] = deque(maxlen=RECENT)


def pair_of(certificate: str, key: str) -> Pair:
    """Parse a certificate and its key from PEM, or find the pair in use. Raises ValueError."""
    name = b"".join(hashlib.sha256(text.encode()).digest() for text in (certificate, key))
    pair = _in_use.get(name)
    if pair is None:
        pair = _in_use[name] = Pair(certificate.encode(), key.encode())
        _recent.append(pair)
    return pair
