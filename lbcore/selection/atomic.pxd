# Atomic operations on shared cells: the compiler's __atomic builtins, nothing else.
#
# The order is relaxed, because a cell is a value of its own that publishes no other memory; only the lock guards other cells.

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t lb_atomic_add_u64(uint64_t *cell, uint64_t n) { return __atomic_fetch_add(cell, n, __ATOMIC_RELAXED); }
    static inline uint64_t lb_atomic_load_u64(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }
    static inline void lb_atomic_store_u64(uint64_t *cell, uint64_t value) { __atomic_store_n(cell, value, __ATOMIC_RELAXED); }
    static inline int lb_atomic_swap_if_u64(uint64_t *cell, uint64_t expected, uint64_t value) {
        return __atomic_compare_exchange_n(cell, &expected, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    static inline uint32_t lb_atomic_add_u32(uint32_t *cell, uint32_t n) { return __atomic_fetch_add(cell, n, __ATOMIC_RELAXED); }
    static inline uint32_t lb_atomic_or_u32(uint32_t *cell, uint32_t bits) { return __atomic_fetch_or(cell, bits, __ATOMIC_RELAXED); }
    static inline uint32_t lb_atomic_and_u32(uint32_t *cell, uint32_t bits) { return __atomic_fetch_and(cell, bits, __ATOMIC_RELAXED); }
    static inline int lb_atomic_swap_if_u32(uint32_t *cell, uint32_t expected, uint32_t value) {
        return __atomic_compare_exchange_n(cell, &expected, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    static inline int lb_atomic_lock_u32(uint32_t *cell, uint32_t owner) {
        uint32_t unlocked = 0;
        return __atomic_compare_exchange_n(cell, &unlocked, owner, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    }
    static inline void lb_atomic_unlock_u32(uint32_t *cell) { __atomic_store_n(cell, 0, __ATOMIC_RELEASE); }
    static inline uint32_t lb_atomic_load_u32(const uint32_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }
    static inline void lb_atomic_store_u32(uint32_t *cell, uint32_t value) { __atomic_store_n(cell, value, __ATOMIC_RELAXED); }
    """
    # Return the value before the addition, which wraps around.
    uint64_t atomic_add_u64 "lb_atomic_add_u64"(uint64_t* cell, uint64_t n) noexcept nogil
    uint32_t atomic_add_u32 "lb_atomic_add_u32"(uint32_t* cell, uint32_t n) noexcept nogil
    uint64_t atomic_load_u64 "lb_atomic_load_u64"(const uint64_t* cell) noexcept nogil
    uint32_t atomic_load_u32 "lb_atomic_load_u32"(const uint32_t* cell) noexcept nogil
    void atomic_store_u64 "lb_atomic_store_u64"(uint64_t* cell, uint64_t value) noexcept nogil
    void atomic_store_u32 "lb_atomic_store_u32"(uint32_t* cell, uint32_t value) noexcept nogil
    # A lock holds its owner, which is not 0, or 0 while it is free. Returns 1 if `owner` holds it now, 0 if another one does.
    bint atomic_lock_u32 "lb_atomic_lock_u32"(uint32_t* cell, uint32_t owner) noexcept nogil
    void atomic_unlock_u32 "lb_atomic_unlock_u32"(uint32_t* cell) noexcept nogil
    # Return the bits before the operation.
    uint32_t atomic_or_u32 "lb_atomic_or_u32"(uint32_t* cell, uint32_t bits) noexcept nogil
    uint32_t atomic_and_u32 "lb_atomic_and_u32"(uint32_t* cell, uint32_t bits) noexcept nogil
    # Store `value` if the cell holds `expected`. Return 1 if it did; else 0, with the cell unchanged.
    bint atomic_swap_if_u32 "lb_atomic_swap_if_u32"(uint32_t* cell, uint32_t expected, uint32_t value) noexcept nogil
    bint atomic_swap_if_u64 "lb_atomic_swap_if_u64"(uint64_t* cell, uint64_t expected, uint64_t value) noexcept nogil
