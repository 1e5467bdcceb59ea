# What middlewares know beyond one exchange: keys that are limited, over all workers, and objects of a worker.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from lbcore.state.keyed cimport KeyedTable
from lbcore.state.layout cimport KeyedRow


cdef class Group:
    cdef KeyedTable table
    cdef readonly uint64_t number      # of the group in the table: the same in all workers, and after a reload
    cdef str identity
    cdef dict parts                    # Group by name: those of the routers and services it is used by
    cdef str last_place                # of the part that was asked for last
    cdef Group last_part

    cdef Group part(self, str place)
    cdef bint hold(self, const uint8_t* key, int64_t amount) noexcept
    cdef void release(self, const uint8_t* key) noexcept
    cdef KeyedRow* take(self, const uint8_t* key, uint64_t now_ns) noexcept
    cdef void key_of(self, const char* text, Py_ssize_t length, uint8_t* key) noexcept


cdef class Denials:                    # what one middleware has refused, counted by this worker
    cdef KeyedTable table              # whose region and worker count it
    cdef uint64_t key
    cdef uint64_t* count               # of its row; NULL = it has none yet, or there is no room

    cdef void add(self) noexcept


cdef class State:
    cdef readonly KeyedTable table
    cdef object objects                # WeakValueDictionary, by identity
    cdef readonly object loop          # of the worker; None: no request comes

    cdef int64_t instances(self) noexcept
    cdef void count_missed_store(self) noexcept
    cdef void count_denied_retry(self) noexcept
