# The check of weights of servers.

from libc.stdint cimport uint32_t

cdef enum:
    MAX_WEIGHT = 1 << 30


cdef inline uint32_t checked_weight(object server, object weight) except? 0xFFFFFFFF:
    """A weight as a number, 0 to MAX_WEIGHT. Raises TypeError or ValueError."""
    if isinstance(weight, bool) or not isinstance(weight, int):
        if isinstance(weight, (bool, str, bytes)) or not hasattr(weight, "__index__"):
            raise TypeError(f"the weight of {server!r} has to be an int, not {weight!r}: `scaled` of lbcore.selection makes ints of fractions")
        weight = weight.__index__()
    if not 0 <= weight <= MAX_WEIGHT:
        raise ValueError(f"the weight of {server!r} has to be between 0 and {MAX_WEIGHT}, not {weight}")
    return weight
