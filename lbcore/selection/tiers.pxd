# Servers to fall back on, tier by tier, as far as those before them do not suffice.

from lbcore.selection.wrapper cimport Wrapper


cdef class Tiers(Wrapper):
    cdef dict tier_of                  # server -> tier
    cdef readonly double overprovisioning
    cdef dict load                     # tier -> its part of all picks, in percent, as things stand

    cdef object tier(self, object server)
    cdef dict shares(self, dict health)
