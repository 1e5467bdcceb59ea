"""Slow start for strategies by load, to which an idle member looks best however small its share.

Members in slow start get exactly their share, by the smooth order over all members, and the strategy chooses among the others.
No I/O, no lock, no allocation in `pick`.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lbcore.routing.asker cimport Asker
from lbcore.routing.picker cimport Picker, build_cycle
from lbcore.selection.cycle cimport cycle_free
from lbcore.selection.atomic cimport atomic_load_u32
from lbcore.state.layout cimport ServerCell, ServiceCell


@cython.final
cdef class Ramped(Picker):
    """`picker`, preceded by the members in slow start. O(1) more than `picker`."""

    def __cinit__(self, Picker picker):
        self.picker = picker

    def __dealloc__(self):
        cycle_free(&self.cycle)
        free(self.rest)

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        cdef Py_ssize_t i
        if self.rest == NULL:
            self.rest = <uint32_t*>calloc(count + 1, sizeof(uint32_t))
            if self.rest == NULL:
                raise MemoryError
        self.any = False
        for i in range(count):
            self.rest[i] = 0 if atomic_load_u32(&cells[i].ramp_percent) else weights[i]
            self.any = self.any or self.rest[i] != weights[i]
        if self.any:
            build_cycle(&self.cycle, weights, count)
        return self.picker.build(self.rest, cells, count)

    cdef Py_ssize_t pick(self, ServiceCell* cell, Asker asker, int attempt, bint further) except -2:
        cdef Py_ssize_t index, other
        if not self.any:
            return self.picker.pick(cell, asker, attempt, further)
        # Positions of its own, because the strategy advances those in the cell.
        index = self.cycle.order[self.positions[further] % <uint64_t>self.cycle.period]
        self.positions[further] += 1
        if self.rest[index]:
            other = self.picker.pick(cell, asker, attempt, further)
            if other >= 0:
                return other
        return index
