# The base class of wrappers, which change the weights by which a selector picks.

from lbcore.selection.algorithm cimport Algorithm, Shaper


cdef class Wrapper(Shaper):
    cdef readonly object selector      # what it wraps: an Algorithm, or another Wrapper
    cdef Algorithm base                # the algorithm inside all wrappers
    cdef Wrapper within                # `selector` if that is a wrapper, else None
    cdef object clock                  # a function that returns seconds; None = the monotonic clock
    cdef double due_s                  # when `step` has to be called, in seconds of `clock`; infinity = never
    cdef dict pending                  # own state that `reshape` has to take over; None = none

    # What a wrapper implements
    cdef int reshape(self, Algorithm selector) except -1
    cdef int step(self, double now_s) except -1
    cdef dict options(self)
    cdef dict own_state(self)

    cdef int wrap(self, object selector, object clock) except -1
    cdef double now(self) except? -1
    cdef int ahead(self) except -1
    cdef int ahead_to(self, double now_s) except -1
    cdef dict all_options(self)
