# The base class of selectors that pick in a fixed order, whatever the request.

from libc.stdint cimport int64_t, uint32_t

from lbcore.selection.chairman cimport Upcoming
from lbcore.selection.cycle cimport Cycle
from lbcore.selection.algorithm cimport Algorithm


cdef class Ordered(Algorithm):
    cdef Cycle cycle
    cdef uint32_t position             # in `cycle`
    cdef Upcoming upcoming             # used if the period is too long for `cycle`, which is empty then

    cdef int build_cycle(self) except -1
    cdef int go_to(self, int64_t step) except -1
    cdef int reschedule(self) except -1
