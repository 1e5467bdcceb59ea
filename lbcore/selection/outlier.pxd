# Servers that answer worse than the others are taken out for a while.

from libc.stdint cimport uint64_t

from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper


cdef class Host:                       # what is known of one server
    cdef uint64_t epoch
    cdef long[3] in_a_row              # failures one after the other, by Series
    cdef long[2] good                  # in this interval: answers, and with `split_local` connections
    cdef long[2] bad
    cdef long times                    # that it was ejected, less the intervals it behaved
    cdef double until_s                # ejected until; 0 = it is not
    cdef str reason


cdef class OutlierDetector(Wrapper):
    cdef dict settings
    cdef list limits                   # failures in a row that are too many, by Series; None = any number may be
    cdef bint split_local
    cdef double interval_s
    cdef double interval_end_s
    cdef uint64_t random
    cdef dict hosts                    # server -> Host
    cdef object on_eject               # functions, or None
    cdef object on_return
    cdef list events                   # calls of these that are due: (function, arguments)

    cdef Host host(self, object server)
    cdef int note(self, object server, bint ok, str kind) except -1
    cdef int count(self, object server, Host host, int series) except -1
    cdef int take_out(self, object server, Host host, str reason, double now_s) except -1
    cdef int back(self, object server, Host host) except -1
    cdef int tell(self) except -1
    cdef dict out(self)
    cdef int judge(self, int origin, double now_s) except -1
    cdef int plan(self) except -1
