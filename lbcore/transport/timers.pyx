"""A hashed timer wheel (Varghese and Lauck, 1987, scheme 6) with deadlines that move lazily. No I/O.

Timeouts are set on every request and almost never fire. Moving one further off, the common case, writes one field; the
wheel finds out when it comes past the old slot.
"""

from libc.stdint cimport int64_t


cdef void wheel_init(Wheel* wheel, int64_t now_ms) noexcept nogil:
    cdef int i
    for i in range(WHEEL_SLOTS):
        wheel.heads[i].next = &wheel.heads[i]
        wheel.heads[i].prev = &wheel.heads[i]
    wheel.tick = now_ms // TICK_MS
    wheel.count = 0


cdef void timer_init(Timer* timer, void* owner) noexcept nogil:
    timer.deadline_ms = 0
    timer.slot = -1
    timer.next = NULL
    timer.prev = NULL
    timer.owner = owner


cdef inline void link_timer(Wheel* wheel, Timer* timer) noexcept nogil:
    """Put a timer where the sweep will meet it at or after its deadline, or one round early when that is too far off."""
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
    wheel.count += 1


cdef inline void unlink_timer(Wheel* wheel, Timer* timer) noexcept nogil:
    timer.prev.next = timer.next
    timer.next.prev = timer.prev
    timer.next = NULL
    timer.prev = NULL
    timer.slot = -1
    wheel.count -= 1


cdef void timer_set(Wheel* wheel, Timer* timer, int64_t deadline_ms) noexcept nogil:
    """Fire at `deadline_ms`, at most one tick later. Replaces an earlier setting. O(1)."""
    cdef int64_t earlier = timer.deadline_ms
    timer.deadline_ms = deadline_ms
    if timer.slot >= 0:
        if deadline_ms >= earlier:
            return
        unlink_timer(wheel, timer)
    link_timer(wheel, timer)


cdef void timer_clear(Wheel* wheel, Timer* timer) noexcept nogil:
    """Take the timer out. Must be called before its memory goes away. O(1)."""
    timer.deadline_ms = 0
    if timer.slot >= 0:
        unlink_timer(wheel, timer)


cdef Timer* wheel_expired(Wheel* wheel, int64_t now_ms) noexcept nogil:
    """Take out and return one timer that is due, NULL when none is. Call until NULL: others may be set or cleared between."""
    cdef int64_t now = now_ms // TICK_MS
    cdef Timer* head
    cdef Timer* timer
    cdef int visited = 0
    while wheel.tick <= now:
        head = &wheel.heads[wheel.tick % WHEEL_SLOTS]
        timer = head.next
        while timer != head:
            if timer.deadline_ms <= now_ms:
                unlink_timer(wheel, timer)
                timer.deadline_ms = 0
                return timer
            unlink_timer(wheel, timer)
            link_timer(wheel, timer)
            timer = head.next
        if wheel.tick == now:
            break
        wheel.tick += 1
        visited += 1
        if visited > WHEEL_SLOTS:
            wheel.tick = now  # a clock that jumped: one round has seen every slot
    return NULL
