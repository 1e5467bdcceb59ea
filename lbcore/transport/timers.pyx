"""A hashed timer wheel (Varghese and Lauck, 1987, scheme 6) with deadlines that move lazily. No I/O.

Timeouts are set on every request and almost never fire. Postponing one, the common case, writes one field; the wheel moves the
timer when it sweeps the old slot.
"""

from libc.stdint cimport int64_t


cdef void wheel_init(Wheel* wheel, int64_t now_ms) noexcept nogil:
    cdef int i
    for i in range(WHEEL_SLOTS):
        wheel.heads[i].next = &wheel.heads[i]
        wheel.heads[i].prev = &wheel.heads[i]
    wheel.tick = now_ms // TICK_MS
    wheel.count = 0


cdef void wheel_clear(Wheel* wheel) noexcept nogil:
    """Unlink all timers without firing them, before the wheel's memory is freed."""
    cdef int i
    for i in range(WHEEL_SLOTS):
        while wheel.heads[i].next != &wheel.heads[i]:
            timer_clear(wheel.heads[i].next)


cdef void timer_init(Timer* timer, void* owner) noexcept nogil:
    timer.deadline_ms = 0
    timer.slot = -1
    timer.next = NULL
    timer.prev = NULL
    timer.wheel = NULL
    timer.owner = owner


cdef inline void link_timer(Wheel* wheel, Timer* timer) noexcept nogil:
    """Link a timer into the slot that is swept at its deadline, or a round earlier if that is more than one round away."""
    cdef int64_t tick = timer.deadline_ms // TICK_MS + 1
    cdef Timer* head
    if tick <= wheel.tick:
        tick = wheel.tick + 1
    elif tick > wheel.tick + WHEEL_SLOTS - 1:
        tick = wheel.tick + WHEEL_SLOTS - 1
    timer.slot = <int>(tick % WHEEL_SLOTS)
    head = &wheel.heads[timer.slot]
    timer.next = head
    timer.prev = head.prev
    head.prev.next = timer
    head.prev = timer
    timer.wheel = wheel
    wheel.count += 1


cdef inline void unlink_timer(Timer* timer) noexcept nogil:
    timer.prev.next = timer.next
    timer.next.prev = timer.prev
    timer.next = NULL
    timer.prev = NULL
    timer.slot = -1
    timer.wheel.count -= 1
    timer.wheel = NULL


cdef void timer_set(Wheel* wheel, Timer* timer, int64_t now_ms, int64_t deadline_ms) noexcept nogil:
    """Set a deadline, which is found at most one tick late. Replaces an earlier one. O(1)."""
    cdef int64_t earlier = timer.deadline_ms
    timer.deadline_ms = deadline_ms
    if timer.slot >= 0:
        if deadline_ms >= earlier:
            return
        unlink_timer(timer)
    if wheel.count == 0:
        wheel.tick = now_ms // TICK_MS     # an empty wheel is not swept, so its tick is that of its last timer
    link_timer(wheel, timer)


cdef void timer_clear(Timer* timer) noexcept nogil:
    """Unlink a timer from its wheel. Must be called before the timer's memory is freed. O(1)."""
    timer.deadline_ms = 0
    if timer.slot >= 0:
        unlink_timer(timer)


cdef Timer* wheel_expired(Wheel* wheel, int64_t now_ms) noexcept nogil:
    """Unlink and return one timer that is due, or NULL. Call it until NULL; between calls other timers may be set and cleared."""
    cdef int64_t now = now_ms // TICK_MS
    cdef Timer* head
    cdef Timer* timer
    if wheel.tick <= now - WHEEL_SLOTS:
        wheel.tick = now - WHEEL_SLOTS + 1     # the clock has jumped: one round sweeps every slot
    while wheel.tick <= now:
        head = &wheel.heads[wheel.tick % WHEEL_SLOTS]
        timer = head.next
        while timer != head:
            unlink_timer(timer)
            if timer.deadline_ms <= now_ms:
                timer.deadline_ms = 0
                return timer
            link_timer(wheel, timer)
            timer = head.next
        if wheel.tick == now:
            break
        wheel.tick += 1
    return NULL
