"""The keyed hash, beside OpenSSL's."""

from __future__ import annotations

import random
import subprocess

import pytest

from lbcore.http.siphash import keyed_hash

KEY = bytes(range(16))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 63, 1000])
def test_it_is_siphash_with_128_bits(length: int) -> None:
    text = random.Random(length).randbytes(length)
    command = ["openssl", "mac", "-macopt", f"hexkey:{KEY.hex()}", "-macopt", "size:16", "SIPHASH"]
    wanted = subprocess.run(command, input=text, capture_output=True, check=True).stdout
    assert keyed_hash(KEY, text) == bytes.fromhex(wanted.decode())


def test_a_key_has_16_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        keyed_hash(b"short", b"")
