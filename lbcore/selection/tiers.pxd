# Tiers of servers: a later tier gets requests as far as the earlier ones lack capacity.

from lbcore.selection.wrapper cimport Wrapper


cdef class Tiers(Wrapper):
    cdef dict tier_of                  # server -> tier
    cdef readonly double overprovisioning
    cdef dict load                     # tier -> its present part of all picks, in percent

    cdef object tier(self, object server)
    cdef dict shares(self, dict health)
