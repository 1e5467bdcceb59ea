"""Hash functions by name, the same in every process, on every platform and in every version. No I/O, not for secrets.

mix64     lbcore's own, the default: 8 bytes at a time through the finaliser of MurmurHash3. The fastest of these.
xxh64     XXH64 (Collet, xxHash specification 0.1.1).
fnv1a64   FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923), finished with mix64: alone it puts sibling names side by side.
crc32     ISO 3309, as in zlib; what nginx hashes with.

Strings are hashed as UTF-8, integers of up to 64 bits as 8 bytes, the lowest first.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lbcore.selection.mix cimport hash_bytes, mix64

cdef enum:
    CRC32_POLYNOMIAL = 0xEDB88320

cdef uint64_t XX1 = 0x9E3779B185EBCA87
cdef uint64_t XX2 = 0xC2B2AE3D27D4EB4F
cdef uint64_t XX3 = 0x165667B19E3779F9
cdef uint64_t XX4 = 0x85EBCA77C2B2AE63
cdef uint64_t XX5 = 0x27D4EB2F165667C5
cdef uint32_t[256] crc_table
cdef dict KINDS = {"mix64": HASH_MIX64, "xxh64": HASH_XXH64, "fnv1a64": HASH_FNV1A64, "crc32": HASH_CRC32}

HASHES = tuple(KINDS)


cdef void fill_crc_table() noexcept nogil:
    cdef uint32_t n, bit, value
    for n in range(256):
        value = n
        for bit in range(8):
            value = (value >> 1) ^ (<uint32_t>CRC32_POLYNOMIAL if value & 1 else 0)
        crc_table[n] = value


fill_crc_table()


cdef inline uint64_t turned(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline uint64_t word_at(const uint8_t* data) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, data, 8)
    return word


cdef inline uint64_t xx_round(uint64_t lane, uint64_t word) noexcept nogil:
    return turned(lane + word * XX2, 31) * XX1


cdef uint64_t hash_xxh64(const uint8_t* data, Py_ssize_t length, uint64_t seed) noexcept nogil:
    cdef uint64_t found, a, b, c, d
    cdef uint32_t half
    cdef Py_ssize_t left = length
    if length >= 32:
        a, b, c, d = seed + XX1 + XX2, seed + XX2, seed, seed - XX1
        while left >= 32:
            a = xx_round(a, word_at(data))
            b = xx_round(b, word_at(data + 8))
            c = xx_round(c, word_at(data + 16))
            d = xx_round(d, word_at(data + 24))
            data += 32
            left -= 32
        found = turned(a, 1) + turned(b, 7) + turned(c, 12) + turned(d, 18)
        found = (found ^ xx_round(0, a)) * XX1 + XX4
        found = (found ^ xx_round(0, b)) * XX1 + XX4
        found = (found ^ xx_round(0, c)) * XX1 + XX4
        found = (found ^ xx_round(0, d)) * XX1 + XX4
    else:
        found = seed + XX5
    found += <uint64_t>length
    while left >= 8:
        found = turned(found ^ xx_round(0, word_at(data)), 27) * XX1 + XX4
        data += 8
        left -= 8
    if left >= 4:
        memcpy(&half, data, 4)
        found = turned(found ^ (half * XX1), 23) * XX2 + XX3
        data += 4
        left -= 4
    while left:
        found = turned(found ^ (data[0] * XX5), 11) * XX1
        data += 1
        left -= 1
    found = (found ^ (found >> 33)) * XX2
    found = (found ^ (found >> 29)) * XX3
    return found ^ (found >> 32)


cdef uint64_t hash_fnv1a64(const uint8_t* data, Py_ssize_t length, uint64_t seed) noexcept nogil:
    """FNV-1a as published for seed 0; another seed changes the initial value."""
    cdef uint64_t found = <uint64_t>0xCBF29CE484222325 ^ seed
    cdef Py_ssize_t i
    for i in range(length):
        found = (found ^ data[i]) * <uint64_t>0x100000001B3
    return found


cdef uint32_t hash_crc32(const uint8_t* data, Py_ssize_t length, uint32_t before) noexcept nogil:
    """CRC-32, continued from `before`, the value of the preceding bytes, which is 0 at the start."""
    cdef uint32_t found = ~before
    cdef Py_ssize_t i
    for i in range(length):
        found = crc_table[(found ^ data[i]) & 0xFF] ^ (found >> 8)
    return ~found


cdef uint64_t hash_by(int kind, const char* data, Py_ssize_t length, uint64_t seed) noexcept nogil:
    """A hash of 64 bits by HashKind. `crc32` has 32 bits, and takes the seed as the value of preceding bytes."""
    if kind == HASH_MIX64:
        return hash_bytes(data, length, seed)
    if kind == HASH_XXH64:
        return hash_xxh64(<const uint8_t*>data, length, seed)
    if kind == HASH_FNV1A64:
        return mix64(hash_fnv1a64(<const uint8_t*>data, length, seed))
    return hash_crc32(<const uint8_t*>data, length, <uint32_t>seed)


cdef int hash_kind(str name) except -1:
    """The HashKind of a name. Raises ValueError for an unknown name."""
    if name not in KINDS:
        raise ValueError(f"no hash is named {name!r}: one of {', '.join(KINDS)}")
    return KINDS[name]


cdef int convert_key(object key, uint64_t* value) except -1:
    """`key_value` for an int that is negative or has more than 64 bits, and for objects with `__index__`."""
    cdef int overflow = 0
    cdef long long found
    key = PyNumber_Index(key)
    found = PyLong_AsLongLongAndOverflow(key, &overflow)
    value[0] = PyLong_AsUnsignedLongLong(key) if overflow else <uint64_t>found
    return 0


cdef int hash_key(object key, int kind, uint64_t seed, uint64_t* found) except -1:
    """Hash a str, bytes or int. Raises TypeError for anything else, OverflowError for an int of more than 64 bits."""
    cdef Py_ssize_t length
    cdef const char* data
    cdef uint64_t value
    if isinstance(key, str):
        data = PyUnicode_AsUTF8AndSize(key, &length)
    elif isinstance(key, bytes):
        data = PyBytes_AS_STRING(key)
        length = PyBytes_GET_SIZE(key)
    elif isinstance(key, int):
        key_value(key, &value)
        data = <const char*>&value
        length = 8
    else:
        raise TypeError(f"a key is a str, bytes or int, not {type(key).__name__}")
    found[0] = hash_by(kind, data, length, seed)
    return 0


cdef uint64_t hash_server(object server, int kind, uint64_t seed) except? 0:
    """The hash of a server's name: of itself for str, bytes and int, else of its `str()`.

    Raises TypeError when `str()` contains the address of an object, which differs between processes.
    """
    cdef uint64_t found
    if not isinstance(server, (str, bytes, int)):
        if type(server).__str__ is object.__str__ and type(server).__repr__ is object.__repr__:
            raise TypeError(f"{server!r} has no name that is the same in every process: define __str__")
        server = str(server)
    hash_key(server, kind, seed, &found)
    return found


def hash_of(key: str | bytes | int, hash: str = "mix64", seed: int = 0) -> int:
    """The 64-bit hash of a key by a named function (one of HASHES), as selectors compute it. Raises ValueError for another name."""
    cdef uint64_t found
    hash_key(key, hash_kind(hash), seed, &found)
    return found
