# Weighted rendezvous hashing, highest random weight.

from lbcore.selection.keyed cimport Keyed


cdef class Rendezvous(Keyed):
    pass
