# Strategies: which of its members a balancer gives the next request.

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
    cdef Py_ssize_t pick(self, ServiceCell* cell, Asker asker, int attempt) except -2
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
    cdef uint32_t* configured          # weights that the places were built from; owned, with `open` behind them
    cdef uint32_t* open
    cdef Py_ssize_t count
    cdef Py_ssize_t n_open
    cdef bint equal                    # the weights of those that may be picked
    cdef uint64_t spread               # 0 = no bound, else permitted load in per cent of the average
    cdef ServerCell** cells

    cdef Py_ssize_t choice(self, uint64_t hash, Py_ssize_t before) noexcept
