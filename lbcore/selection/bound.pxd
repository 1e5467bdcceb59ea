# Bounded loads: who has room for one more request (Mirrokni, Thorup, Zadimoghaddam, arXiv 1608.01350).
#
# cap_i = ceil(c * (m + 1) * w_i / W), m being the requests in flight at all, W the weight of all that are open. As loads are
# whole numbers, load < cap is load < c * (m + 1) * w_i / W: two products, no division.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_load_u64
from lbcore.selection.load cimport Load
from lbcore.selection.wide cimport uint128

cdef enum:
    BOUND_ONE = 65536          # `factor` of c = 1


cdef struct Bound:
    Load** loads               # by index
    const uint32_t* open       # by index: weights, 0 = closed
    uint64_t total             # their sum
    uint64_t factor            # c * BOUND_ONE
    uint64_t wanted            # requests in flight at all, and this one


cdef inline bint has_room(const Bound* bound, Py_ssize_t index) noexcept nogil:
    cdef uint64_t load = atomic_load_u64(&bound.loads[index].in_flight)
    return (<uint128>load * bound.total * <uint64_t>BOUND_ONE
            < <uint128>bound.factor * bound.wanted * bound.open[index])


cdef inline bint admitted(Py_ssize_t index, const uint8_t* barred, const Bound* bound) noexcept nogil:
    """Whether an open server is neither barred nor full. NULL = nobody is barred, there is no bound."""
    return (barred == NULL or barred[index] == 0) and (bound == NULL or has_room(bound, index))
