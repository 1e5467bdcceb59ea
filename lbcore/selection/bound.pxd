# Bounded loads: whether a server has room for one more request (Mirrokni, Thorup, Zadimoghaddam, arXiv 1608.01350).
#
# cap_i = ceil(c * (m + 1) * w_i / W), where m is the number of requests in flight at all servers and W the weight of all open
# servers. Loads are whole numbers, so load < cap is load < c * (m + 1) * w_i / W, which takes products and no division.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_load_u64
from lbcore.selection.load cimport Load
from lbcore.selection.wide cimport uint128

cdef enum:
    BOUND_ONE = 65536          # `factor` of c = 1


cdef struct Bound:             # lives on the stack of one pick; borrows both arrays from the Algorithm
    Load** loads               # by index
    const uint32_t* open       # by index: weights, 0 = closed
    uint64_t total             # sum of `open`
    uint64_t factor            # c * BOUND_ONE
    uint64_t wanted            # m + 1: the requests in flight at all servers, and this one


cdef inline bint has_room(const Bound* bound, Py_ssize_t index) noexcept nogil:
    cdef uint64_t load = atomic_load_u64(&bound.loads[index].in_flight)
    return (<uint128>load * bound.total * <uint64_t>BOUND_ONE
            < <uint128>bound.factor * bound.wanted * bound.open[index])


cdef inline bint admitted(Py_ssize_t index, const uint8_t* barred, const Bound* bound) noexcept nogil:
    """Whether an open server is neither barred nor full. `barred` NULL = none is barred; `bound` NULL = loads are not bounded."""
    return (barred == NULL or barred[index] == 0) and (bound == NULL or has_room(bound, index))
