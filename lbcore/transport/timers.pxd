# A hashed timer wheel: one deadline per timer, O(1) to set, one store to postpone.

from libc.stdint cimport int64_t

cdef enum:
    TICK_MS = 50               # resolution: a timer is found at most one tick late, never early
    WHEEL_SLOTS = 1024         # one round is 51.2 s; timers further off stay for several rounds

cdef struct Wheel

cdef struct Timer:
    int64_t deadline_ms        # monotonic; 0 = not set
    int slot                   # -1 = in no slot
    Timer* next                # neighbours in the slot, NULL = in none. A timer is cleared before its memory is freed,
    Timer* prev                # and `wheel_clear` unlinks all timers before the wheel's memory is freed
    Wheel* wheel               # the wheel that holds it; NULL = in no slot
    void* owner                # the Timed of which it is a part, with the same lifetime

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
