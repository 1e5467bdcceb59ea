# Servers that have just come get their share little by little.

from lbcore.selection.wrapper cimport Wrapper


cdef class SlowStart(Wrapper):
    cdef readonly double window_s
    cdef readonly double aggression
    cdef readonly int min_weight_percent
    cdef dict started_s                # by epoch of the servers that may be picked: since when

    cdef int percent(self, double age_s) noexcept
