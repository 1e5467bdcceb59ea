"""The base class of selectors that draw servers at random. No I/O."""

from cpython.object cimport PyObject

from lbcore.selection.alias cimport alias_build, alias_free
from lbcore.selection.algorithm cimport Algorithm

cdef extern from "Python.h":
    ctypedef struct PyListObject:
        PyObject** ob_item


cdef class Drawn(Algorithm):
    """The base class of selectors that draw servers at random. It keeps the table for draws, which a change rebuilds in O(servers)."""

    def __cinit__(self, *arguments, **named):
        self.stateful = True
        self.by_weight = True

    def __dealloc__(self):
        alias_free(&self.alias)

    cdef int prepare(self) except -1:
        self.ahead.ready = False
        # These addresses are valid until the next change, which calls `prepare` again.
        self.ahead.objects = <void**>(<PyListObject*>self.names).ob_item
        self.ahead.picks = self.picks
        self.ahead.loads = self.loads if self.by_pairs else NULL
        return alias_build(&self.alias, self.open, self.count, self.by_weight)
