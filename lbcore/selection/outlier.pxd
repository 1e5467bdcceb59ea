# Outlier detection: servers that fail more than others are ejected for a while.

from libc.stdint cimport uint64_t

from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper


cdef class Host:                       # the record of one server
    cdef uint64_t epoch                # Algorithm.epochs of the server
    cdef long[3] in_a_row              # consecutive failures, by Series
    cdef long[2] good                  # successes in this interval, by origin: answers, and with `split_local` connections
    cdef long[2] bad                   # failures, likewise
    cdef long times                    # ejections, less the intervals without one; at least 0
    cdef double until_s                # end of the ejection; 0 = the server is not ejected
    cdef str reason                    # of the last ejection


cdef class OutlierDetector(Wrapper):
    cdef dict settings
    cdef list limits                   # consecutive failures that lead to an ejection, by Series; None = no number does
    cdef bint split_local
    cdef double interval_s
    cdef double interval_end_s
    cdef uint64_t random
    cdef dict hosts                    # server -> Host
    cdef object on_eject               # functions, or None
    cdef object on_return
    cdef list events                   # calls of these hooks that are due: (function, arguments)

    cdef Host host(self, object server)
    cdef int note(self, object server, bint ok, str kind) except -1
    cdef int count(self, object server, Host host, int series) except -1
    cdef int start_ejection(self, object server, Host host, str reason, double now_s) except -1
    cdef int end_ejection(self, object server, Host host) except -1
    cdef int call_hooks(self) except -1
    cdef dict out(self)
    cdef int judge(self, int origin, double now_s) except -1
    cdef int plan(self) except -1
