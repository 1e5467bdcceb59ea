# A hashed timer wheel: one deadline per timer, O(1) to set, nothing to do when a deadline only moves away.

from libc.stdint cimport int64_t

cdef enum:
    TICK_MS = 50               # resolution: a timer is found up to one tick late, never early
    WHEEL_SLOTS = 1024         # 51.2 s round; what lies further off goes round again

cdef struct Wheel

cdef struct Timer:
    int64_t deadline_ms        # monotonic; 0 while not set
    int slot                   # -1 while in no slot
    Timer* next                # neighbours in the slot, NULL while in none. A timer leaves the wheel before its memory goes away,
    Timer* prev                # and the wheel lets go of all timers before its own does
    Wheel* wheel               # which it is in; NULL while in no slot
    void* owner                # the Timed it is a part of: lives exactly as long

cdef struct Wheel:
    Timer heads[WHEEL_SLOTS]   # list heads, circular
    int64_t tick               # the last tick that was swept
    Py_ssize_t count           # timers in slots


cdef void wheel_init(Wheel* wheel, int64_t now_ms) noexcept nogil
cdef void wheel_clear(Wheel* wheel) noexcept nogil
cdef void timer_init(Timer* timer, void* owner) noexcept nogil
cdef void timer_set(Wheel* wheel, Timer* timer, int64_t now_ms, int64_t deadline_ms) noexcept nogil
cdef void timer_clear(Timer* timer) noexcept nogil
cdef Timer* wheel_expired(Wheel* wheel, int64_t now_ms) noexcept nogil
