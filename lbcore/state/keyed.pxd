# The keyed table: counts of keys (addresses, hashes of users) over all workers, of what is held now and of what was used.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.state.layout cimport KeyedPart, KeyedRow
from lbcore.state.region cimport Region


cdef class KeyedTable:
    cdef Region region
    cdef uint32_t worker
    cdef uint64_t seed

    cdef bint hold(self, uint64_t group, const uint8_t* key, int64_t amount) noexcept nogil
    cdef void release(self, uint64_t group, const uint8_t* key) noexcept nogil
    cdef KeyedRow* take(self, uint64_t group, const uint8_t* key, uint64_t now_ns) noexcept nogil
    cdef KeyedRow* find(self, uint32_t part, uint64_t group, const uint8_t* key) noexcept nogil
    cdef KeyedRow* find_from(self, uint32_t part, uint32_t home, uint64_t group, const uint8_t* key) noexcept nogil
    cdef KeyedRow* insert(self, uint32_t part, uint64_t group, const uint8_t* key) noexcept nogil
    cdef KeyedRow* fill(self, uint32_t part, KeyedRow* row, uint32_t home, uint64_t group, const uint8_t* key) noexcept nogil
    cdef bint evict(self, uint32_t part) noexcept nogil
    cdef uint32_t home(self, uint64_t group, const uint8_t* key) noexcept nogil
    cdef void remove(self, uint32_t part, uint32_t gap) noexcept nogil
    cdef bint lock(self) noexcept nogil
    cdef void unlock(self, bint locked) noexcept nogil
