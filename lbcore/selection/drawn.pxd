# Selectors that leave something to chance.

from lbcore.selection.ahead cimport Ahead
from lbcore.selection.alias cimport Alias
from lbcore.selection.algorithm cimport Algorithm


cdef class Drawn(Algorithm):
    cdef Alias alias
    cdef Ahead ahead                   # of the picks that `pick` gives
    cdef bint by_weight                # drawn in proportion to weights
    cdef bint by_pairs                 # two at a time, to compare their loads
