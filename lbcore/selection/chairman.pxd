# Tijdeman's order of picks: computed once, or one by one.

from libc.stdint cimport int64_t, uint32_t

from lbcore.selection.cycle cimport Cycle

cdef extern from *:
    """
    typedef __int128 lb_int128;
    """
    ctypedef long long int128 "lb_int128"


cdef struct Job:               # the next pick of one server
    int64_t due                # last step at which it may come
    int64_t free_from          # first one
    uint32_t index


cdef struct Upcoming:          # the order, one pick after the other
    Job* ready                 # heap by `due`: those that may come now
    Job* later                 # heap by `free_from`
    Py_ssize_t n_ready
    Py_ssize_t n_later
    int64_t* picked            # by index, in this period
    uint32_t* weights          # by index, divided by their greatest common divisor
    Py_ssize_t count
    int64_t scale              # 2n - 2
    int64_t period
    int64_t step


cdef int chairman_build(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1
cdef int upcoming_begin(Upcoming* upcoming, const uint32_t* weights, Py_ssize_t count) except -1
cdef void upcoming_free(Upcoming* upcoming) noexcept nogil
cdef Py_ssize_t upcoming_next(Upcoming* upcoming) noexcept nogil
cdef void schedule(Upcoming* upcoming, uint32_t index) noexcept nogil
