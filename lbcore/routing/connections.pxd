# How many connections each client has open, over all workers.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.state.layout cimport ConnectionRow
from lbcore.state.region cimport Region


cdef class ConnectionTable:
    cdef Region region
    cdef uint32_t worker
    cdef uint64_t seed

    cdef bint enter(self, uint64_t group, const uint8_t* ip, int64_t amount) noexcept nogil
    cdef void leave(self, uint64_t group, const uint8_t* ip) noexcept nogil
    cdef ConnectionRow* find(self, uint32_t worker, uint64_t group, const uint8_t* ip) noexcept nogil
    cdef uint32_t home(self, uint64_t group, const uint8_t* ip) noexcept nogil
    cdef void remove(self, ConnectionRow* row) noexcept nogil
    cdef bint lock(self) noexcept nogil
    cdef void unlock(self, bint locked) noexcept nogil
