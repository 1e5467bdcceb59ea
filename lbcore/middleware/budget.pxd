# The budget of a middleware for further attempts.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.state.holdings cimport Group
from lbcore.state.layout cimport KeyedRow


cdef class RetryBudget:
    cdef Group group
    cdef double ratio                  # of further attempts to requests
    cdef double least                  # attempts of a window that are allowed beside these

    cpdef void note(self, uint64_t now_ns) noexcept
    cpdef bint spend(self, uint64_t now_ns) noexcept
    cpdef void give_back(self, uint64_t now_ns) noexcept
    cdef KeyedRow* row(self, uint64_t second, bint makes, uint64_t now_ns) noexcept
