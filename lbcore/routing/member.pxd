# Members, among which a service chooses: servers, or child services. Reloads keep them by identity.

from libc.stdint cimport uint32_t

from lbcore.state.layout cimport ServerCell, ServerStats


cdef class Member:
    cdef readonly str name             # identity: `service@provider|key`
    cdef readonly str key              # within its service: the URL, or the child's name, as written
    cdef readonly uint32_t slot
    cdef ServerCell* cell              # shared by all workers
    cdef ServerStats* stats            # this worker's row
    cdef object region                 # keeps them mapped
