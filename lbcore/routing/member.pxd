# What a service chooses among: one of its servers, or one of its child services. Kept by identity over reloads.

from libc.stdint cimport uint32_t

from lbcore.state.layout cimport ServerCell, ServerStats


cdef class Member:
    cdef readonly str name             # identity: `service@provider|key`
    cdef readonly str key              # within its service: the URL, or the child's name, as written
    cdef readonly uint32_t slot
    cdef ServerCell* cell              # shared by all workers
    cdef ServerStats* stats            # this worker's row
    cdef object region                 # keeps them mapped
