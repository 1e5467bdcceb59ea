"""Hashes of passwords, as htpasswd and crypt(3) write them. No I/O."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

MOST_BYTES = 3072  # of a password; a longer one is wrong
BCRYPT_BYTES = 72  # that bcrypt looks at

_FORMS = {
    "sha1": rb"\{SHA\}[A-Za-z0-9+/]{27}=",
    "apr1": rb"\$apr1\$[^$]{0,8}\$[./0-9A-Za-z]{22}",
    "md5": rb"\$1\$[^$]{0,8}\$[./0-9A-Za-z]{22}",
    "bcrypt": rb"\$2[abxy]\$(?:0[4-9]|[12][0-9]|3[01])\$[./0-9A-Za-z]{53}",
    "sha256": rb"\$5\$(?:rounds=[0-9]{1,9}\$)?[^$]{0,16}\$[./0-9A-Za-z]{43}",
    "sha512": rb"\$6\$(?:rounds=[0-9]{1,9}\$)?[^$]{0,16}\$[./0-9A-Za-z]{86}",
    "argon2": rb"\$argon2(?:id|i|d)\$v=19\$m=[0-9]{1,8},t=[0-9]{1,6},p=[0-9]{1,4}"
    rb"\$[A-Za-z0-9+/]{10,100}\$[A-Za-z0-9+/]{16,100}",
}
_KINDS = {kind: re.compile(form, re.DOTALL) for kind, form in _FORMS.items()}


def kind_of(stored: bytes) -> str:
    """The kind of a stored hash; empty for a text that is none, which no password has."""
    return next((kind for kind, form in _KINDS.items() if form.fullmatch(stored)), "")


def _sha1(stored: bytes, password: bytes) -> bool:
    digest = base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
    return hmac.compare_digest(digest, stored[5:])


def _bcrypt(stored: bytes, password: bytes) -> bool:
    import bcrypt

    return bcrypt.checkpw(password[:BCRYPT_BYTES], b"$2b$" + stored[4:])


def _argon2(stored: bytes, password: bytes) -> bool:
    import argon2

    try:
        return argon2.PasswordHasher().verify(stored, password)
    except argon2.exceptions.VerificationError:
        return False


def _crypt(name: str) -> Callable[[bytes, bytes], bool]:
    def check(stored: bytes, password: bytes) -> bool:
        from passlib import hash as crypts  # of libpass

        return bool(getattr(crypts, name).verify(password, stored.decode("ascii")))

    return check


_CHECKS: dict[str, Callable[[bytes, bytes], bool]] = {
    "sha1": _sha1,
    "apr1": _crypt("apr_md5_crypt"),
    "md5": _crypt("md5_crypt"),
    "bcrypt": _bcrypt,
    "sha256": _crypt("sha256_crypt"),
    "sha512": _crypt("sha512_crypt"),
    "argon2": _argon2,
}


def is_right(stored: bytes, password: bytes) -> bool:
    """Whether a password has a stored hash. Takes as long as its kind and cost say, for every password."""
    check = _CHECKS.get(kind_of(stored))
    if check is None:
        return False
    # What no hash can have been made of costs the same as any other.
    possible = b"\0" not in password and len(password) <= MOST_BYTES
    try:
        return check(stored, password if possible else b"?") and possible
    except ValueError:
        return False  # a salt, or a number of rounds, that is none
