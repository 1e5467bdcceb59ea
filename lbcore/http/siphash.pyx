"""SipHash-2-4 with 128 bits: the keyed hash of a short text. No I/O."""

from libc.stdint cimport uint8_t, uint64_t


def keyed_hash(bytes key, bytes text) -> bytes:
    """`siphash` for tests and tools: 16 bytes."""
    cdef uint64_t digest[2]
    if len(key) != 16:
        raise ValueError("a key has 16 bytes")
    siphash(<const uint8_t*><const char*>key, text, len(text), digest)
    return (<char*>digest)[:16]
