# Random picks by weight.

from lbcore.selection.drawn cimport Drawn


cdef class RandomWeighted(Drawn):
    pass
