# Weighted round robin in Tijdeman's order.

from lbcore.selection.ordered cimport Ordered


cdef class Tijdeman(Ordered):
    pass
