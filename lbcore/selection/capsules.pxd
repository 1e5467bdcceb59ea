# Picking from C: the struct of lbcore_selection.h.

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "lbcore_selection.h":
    int LBCORE_SELECTION_ABI
    const char* LBCORE_SELECTOR_NAME

    ctypedef struct lbcore_selector:
        uint32_t abi
        uint32_t exclusive
        uint32_t keyed
        uint32_t reserved
        void* state
        int64_t (*pick)(void* state, uint64_t key) noexcept nogil
        uint64_t (*hash)(void* state, const char* data, size_t length) noexcept nogil
        int (*begin)(void* state) except -1
        void (*end)(void* state) noexcept
