# The base class of selectors that draw servers at random.

from lbcore.selection.ahead cimport Ahead
from lbcore.selection.alias cimport Alias
from lbcore.selection.algorithm cimport Algorithm


cdef class Drawn(Algorithm):
    cdef Alias alias
    cdef Ahead ahead                   # draws ahead of `pick`
    cdef bint by_weight                # draw in proportion to weights
    cdef bint by_pairs                 # draw two servers for each pick, to compare their loads
