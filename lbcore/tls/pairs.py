"""Certificates with their keys, each read once: a configuration is checked and compiled several times at a reload.

Reading one costs milliseconds. What is in use is found again by its content, and so are the last ones that were read;
no other key is kept.
"""

from __future__ import annotations

import hashlib
from collections import deque
from weakref import WeakValueDictionary

from lbcore.tls.contexts import Pair

RECENT = 1024  # that are kept between reading, checking and compiling, when nothing uses them yet

_in_use: WeakValueDictionary[bytes, Pair] = WeakValueDictionary()
_recent: deque[Pair] = deque(maxlen=RECENT)


def pair_of(certificate: str, key: str) -> Pair:
    """From PEM. Raises ValueError."""
    name = b"".join(hashlib.sha256(text.encode()).digest() for text in (certificate, key))
    pair = _in_use.get(name)
    if pair is None:
        pair = _in_use[name] = Pair(certificate.encode(), key.encode())
        _recent.append(pair)
    return pair
