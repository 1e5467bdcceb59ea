# The base class of selectors that choose by a key.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.bound cimport Bound
from lbcore.selection.algorithm cimport Algorithm


cdef class Keyed(Algorithm):
    cdef uint64_t* ids                 # owned; by index: hashes of names, all different
    cdef uint64_t* built_epochs        # owned; by index: the epochs for which `ids` and `build` were computed
    cdef uint32_t* built_weights       # owned; by index: the weights, likewise
    cdef Py_ssize_t built_count        # items of the three arrays that are valid; -1 = nothing is built
    cdef uint64_t open_total           # sum of `open`
    cdef bint equal                    # all weights in `open` that are not 0 are the same
    cdef bint all_open                 # `open` equals `weights`
    cdef uint64_t factor               # `bounded_load` in parts of BOUND_ONE; 0 = loads are not bounded
    cdef str hash_name
    cdef object bounded_load

    cdef int setting(self, str hash, object bounded_load) except -1
    cdef int renew(self) except -1
    cdef int build(self) except -1
    cdef int resolve(self) except -1
    cdef Py_ssize_t seek(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil
    cdef Py_ssize_t rank(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil
    cdef Py_ssize_t least_full(self, const uint8_t* barred) noexcept nogil
