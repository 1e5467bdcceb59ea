# Slow start: the weight of a new server ramps up.

from lbcore.selection.wrapper cimport Wrapper


cdef class SlowStart(Wrapper):
    cdef readonly double window_s
    cdef readonly double aggression
    cdef readonly int min_weight_percent
    cdef dict started_s                # epoch -> start of the ramp, in seconds of `clock`, of the servers that may be picked

    cdef int percent(self, double age_s) noexcept
