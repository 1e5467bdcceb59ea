# Tijdeman's order of picks, computed as a whole or pick by pick.

from libc.stdint cimport int64_t, uint32_t

from lbcore.selection.cycle cimport Cycle

cdef extern from *:
    """
    typedef __int128 lb_int128;
    """
    ctypedef long long int128 "lb_int128"


cdef struct Job:               # the next pick of one server
    int64_t due                # the last step at which the pick may come
    int64_t free_from          # the first step at which it may come
    uint32_t index


cdef struct Upcoming:          # the order, pick by pick; owns its arrays: `upcoming_begin` allocates, `upcoming_free` frees them
    Job* ready                 # heap by `due` of the picks that may come now
    Job* later                 # heap by `free_from` of the others
    Py_ssize_t n_ready
    Py_ssize_t n_later
    int64_t* picked            # by index: picks in this period
    uint32_t* weights          # by index, divided by their greatest common divisor
    Py_ssize_t count           # servers
    int64_t scale              # 2n - 2, where n is the number of servers with weight; at least 2
    int64_t period             # sum of `weights`
    int64_t step               # picks so far in this period


cdef int chairman_build(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1
cdef int upcoming_begin(Upcoming* upcoming, const uint32_t* weights, Py_ssize_t count) except -1
cdef void upcoming_free(Upcoming* upcoming) noexcept nogil
cdef Py_ssize_t upcoming_next(Upcoming* upcoming) noexcept nogil
cdef void schedule(Upcoming* upcoming, uint32_t index) noexcept nogil
