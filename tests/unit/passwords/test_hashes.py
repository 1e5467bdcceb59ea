"""Hashes of every kind, made by the libraries and by hand, and texts that are none."""

from __future__ import annotations

import base64
import hashlib

import argon2
import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passlib import hash as crypts

from lbcore.passwords.hashes import is_right, kind_of

PASSWORD = "pa:ss wörd".encode()
SALTED = bcrypt.hashpw(PASSWORD, bcrypt.gensalt(4))
HASHES = {
    "sha1": b"{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD).digest()),
    "apr1": crypts.apr_md5_crypt.hash(PASSWORD).encode(),
    "md5": crypts.md5_crypt.hash(PASSWORD).encode(),
    "bcrypt": SALTED,
    "bcrypt2a": b"$2a$" + SALTED[4:],
    "bcrypt2y": b"$2y$" + SALTED[4:],
    "bcrypt2x": b"$2x$" + SALTED[4:],
    "sha256": crypts.sha256_crypt.using(rounds=1000).hash(PASSWORD).encode(),
    "sha512": crypts.sha512_crypt.using(rounds=1000).hash(PASSWORD).encode(),
    "argon2id": argon2.PasswordHasher(1, 64, 1).hash(PASSWORD).encode(),
    "argon2i": argon2.PasswordHasher(1, 64, 1, type=argon2.Type.I).hash(PASSWORD).encode(),
}


@pytest.mark.parametrize("name", HASHES)
def test_the_password_is_right_and_no_other(name: str) -> None:
    stored = HASHES[name]
    assert name.startswith(kind_of(stored)) and kind_of(stored)
    assert is_right(stored, PASSWORD)
    for wrong in (
        b"",
        b"pa:ss",
        PASSWORD + b"x",
        PASSWORD.upper(),
        PASSWORD + b"\0",
        b"\0" + PASSWORD,
        b"\xff\xfe",
        b"?",
    ):
        assert not is_right(stored, wrong)


@pytest.mark.parametrize(
    ("stored", "password"),
    [
        (b"$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/", b"test"),
        (b"{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", b"test"),
        (b"$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", b"secret"),
        (b"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", b"Hello world!"),
        (
            b"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            b"Hello world!",
        ),
    ],
)
def test_hashes_of_other_programs(stored: bytes, password: bytes) -> None:
    assert is_right(stored, password)
    assert not is_right(stored, password + b"!")


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"secret",
        b"{SHA}",
        b"{SHA}short=",
        b"$apr1$",
        b"$2b$99$" + b"a" * 53,
        b"$2b$04$",
        b"$6$",
        b"$argon2id$v=19$m=1",
        b"$7$x$y",
        b"test",
    ],
)
def test_what_is_no_hash_has_no_password(stored: bytes) -> None:
    assert kind_of(stored) == ""
    for password in (b"", b"test", b"secret", stored):
        assert not is_right(stored, password)


@pytest.mark.parametrize("name", HASHES)
def test_a_hash_with_more_in_it_is_none(name: str) -> None:
    stored, more = HASHES[name], b"a" * 70_000
    for place in range(len(stored) + 1):
        assert kind_of(stored[:place] + more + stored[place:]) == ""


def test_a_long_password_is_wrong_and_bcrypt_looks_at_72_bytes() -> None:
    long = b"a" * 72
    assert is_right(bcrypt.hashpw(long, bcrypt.gensalt(4)), long + b"more")
    assert not is_right(HASHES["sha1"], b"a" * 100_000)


@settings(max_examples=200)
@given(st.binary(max_size=120), st.binary(max_size=40))
def test_nothing_raises(stored: bytes, password: bytes) -> None:
    for prefix in (b"", b"$apr1$", b"$5$", b"$2b$04$", b"{SHA}", b"$argon2id$v=19$m=8,t=1,p=1$"):
        assert not is_right(prefix + stored, password)
