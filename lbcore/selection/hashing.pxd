# Hash functions by name, and the bytes of a Python key that are hashed.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.integer cimport lb_integer_bits
from lbcore.selection.mix cimport hash_bytes

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum HashKind:
    HASH_MIX64                 # `mix.hash_bytes`
    HASH_XXH64
    HASH_FNV1A64
    HASH_CRC32


cdef uint64_t hash_xxh64(const uint8_t* data, Py_ssize_t length, uint64_t seed) noexcept nogil
cdef uint64_t hash_fnv1a64(const uint8_t* data, Py_ssize_t length, uint64_t seed) noexcept nogil
cdef uint32_t hash_crc32(const uint8_t* data, Py_ssize_t length, uint32_t before) noexcept nogil
cdef uint64_t hash_by(int kind, const char* data, Py_ssize_t length, uint64_t seed) noexcept nogil
cdef int hash_kind(str name) except -1
cdef int convert_key(object key, uint64_t* value) except -1
cdef uint64_t hash_server(object server, int kind, uint64_t seed) except? 0
cdef int hash_key(object key, int kind, uint64_t seed, uint64_t* found) except -1


cdef inline int hash_text(object text, uint64_t seed, uint64_t* found) except -1:
    """Hash a str by HASH_MIX64."""
    cdef Py_ssize_t length
    cdef const char* data = PyUnicode_AsUTF8AndSize(text, &length)
    found[0] = hash_bytes(data, length, seed)
    return 0


cdef inline int key_value(object key, uint64_t* value) except -1:
    """The 64 bits of an integer, a negative one as two's complement. Raises OverflowError when it has more."""
    if isinstance(key, int) and lb_integer_bits(key, value):
        return 0
    return convert_key(key, value)
