# The power of two choices.

from lbcore.selection.drawn cimport Drawn


cdef class P2C(Drawn):
    pass
