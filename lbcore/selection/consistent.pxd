# Weighted consistent hashing: a key keeps its slot while other slots are added and removed.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.bound cimport Bound
from lbcore.selection.keyed cimport Keyed

cdef enum:
    CONSISTENT_FEW = 256       # up to this number of servers, rendezvous hashing is used, which examines all of them


cdef struct Place:
    uint32_t slot              # NOWHERE = the place is empty
    uint32_t limit             # a key whose draw is above the limit tries another place


cdef struct Places:
    Place* places              # owned: `places_build` allocates, `places_free` frees; NULL = not built
    uint64_t size              # number of places, a power of two


cdef class Consistent(Keyed):
    cdef Places places


cdef int places_build(Places* places, const uint64_t* names, const uint32_t* weights, Py_ssize_t count) except -1
cdef Py_ssize_t places_find(
    const Places* places, uint64_t key, const uint32_t* open, Py_ssize_t count, Py_ssize_t avoid) noexcept nogil
cdef Py_ssize_t places_choose(
    const Places* places, uint64_t key, const uint32_t* open, const uint8_t* barred, const Bound* bound) noexcept nogil
cdef void places_free(Places* places) noexcept nogil
