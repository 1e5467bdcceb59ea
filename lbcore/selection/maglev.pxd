# Maglev hashing: a table that every server has filled its share of.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.keyed cimport Keyed

cdef enum:
    MAGLEV_EMPTY = 0xFFFFFFFF


cdef class Maglev(Keyed):
    cdef uint32_t* table       # by slot: whose it is, open or not
    cdef uint32_t* live        # `table`, or a copy where slots of the closed belong to others
    cdef uint64_t size         # slots, a prime
    cdef uint64_t table_size   # asked for; 0 = as many as the servers need

    cdef uint32_t* filled(self, uint64_t size, const uint32_t* weights) except NULL


cdef int maglev_fill(
    uint32_t* table, uint64_t size, const uint64_t* ids, const uint32_t* weights, const uint32_t* order, Py_ssize_t count,
    uint32_t* room) noexcept nogil
cdef uint64_t maglev_after(uint64_t slot, uint64_t size) noexcept nogil
