# Strategies: the choice among the members of a balancer.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.routing.asker cimport Asker
from lbcore.routing.hash_key cimport HashKey
from lbcore.selection.alias cimport Alias
from lbcore.selection.consistent cimport Places
from lbcore.selection.cycle cimport Cycle
from lbcore.selection.load cimport Load
from lbcore.selection.sweep cimport Sweep
from lbcore.state.layout cimport ServerCell, ServiceCell


cdef int build_cycle(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1


cdef class Picker:
    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1
    cdef Py_ssize_t pick(self, ServiceCell* cell, Asker asker, int attempt, bint further) except -2
    cdef void note(self, Load* load, uint64_t latency_ns, uint64_t now_ns) noexcept


cdef class RoundRobin(Picker):
    cdef Cycle cycle


cdef class LeastOf(Picker):
    cdef int kind                      # Cost
    cdef Alias alias                   # members that may be picked
    cdef uint32_t* weights
    cdef Load** loads
    cdef Sweep sweep                   # of this worker: `leasttime` and `peakewma`
    cdef uint64_t random


cdef class Consistent(Picker):
    cdef HashKey key
    cdef Places places
    cdef uint64_t* names               # hashes; owned
    cdef uint32_t* configured          # weights from which the places were built; owns the allocation into which `open` points, too
    cdef uint32_t* open
    cdef Py_ssize_t count
    cdef Py_ssize_t n_open
    cdef bint equal                    # the members that may be picked have equal weights
    cdef uint64_t spread               # 0 = no bound, else the highest load in percent of the average
    cdef ServerCell** cells

    cdef Py_ssize_t choice(self, uint64_t hash, Py_ssize_t before) noexcept
