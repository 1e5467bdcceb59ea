"""What goes between a worker and the process that checks its passwords. No I/O."""

from __future__ import annotations

import struct

QUESTION = struct.Struct(">II")  # lengths of the stored hash and of the password, which follow
RIGHT, WRONG = b"1", b"0"


def question(stored: bytes, password: bytes) -> bytes:
    return QUESTION.pack(len(stored), len(password)) + stored + password
