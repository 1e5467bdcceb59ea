# Better a server that may be ill than all requests at the few that are left.

from lbcore.selection.wrapper cimport Wrapper


cdef class PanicThreshold(Wrapper):
    cdef readonly double percent
    cdef bint panicking_now
