# Maglev hashing: a lookup table of which every server fills its share.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.keyed cimport Keyed

cdef enum:
    MAGLEV_EMPTY = 0xFFFFFFFF


cdef class Maglev(Keyed):
    cdef uint32_t* table       # owned; by slot: the index of its server, open or not
    cdef uint32_t* live        # `table` itself, or an owned copy in which slots of closed servers belong to others
    cdef uint64_t size         # number of slots, a prime
    cdef uint64_t table_size   # the constructor's; 0 = as many slots as the servers need

    cdef uint32_t* filled(self, uint64_t size, const uint32_t* weights) except NULL


cdef int maglev_fill(
    uint32_t* table, uint64_t size, const uint64_t* ids, const uint32_t* weights, const uint32_t* order, Py_ssize_t count,
    uint32_t* room) noexcept nogil
cdef uint64_t maglev_after(uint64_t slot, uint64_t size) noexcept nogil
