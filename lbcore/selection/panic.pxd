# Panic threshold: when too few servers are up, ignore health.

from lbcore.selection.wrapper cimport Wrapper


cdef class PanicThreshold(Wrapper):
    cdef readonly double percent
    cdef bint panicking_now
