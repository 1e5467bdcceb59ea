"""Pauses in which the output of many streams gathers.

Under load, servers that answer one by one would have each answer cost a wake-up, and a call that sends it. While many streams are
under way these costs are shared by a pause, which is short beside the time that a stream takes with so many others. The reactor
makes one between a batch of events and the output that the batch has caused.
"""

from libc.string cimport memset

cdef enum:
    LEAST_NS = 50000           # the kernel may make a pause longer by as much
    MOST_NS = 300000           # pauses of what gathers longer grow up to this, and up to ...
    PER_STREAM_NS = 4000       # ... this for each open stream: a part of the time that each of so many takes anyway
    LEAST_STREAMS = 32         # open streams from which on there are pauses
    LEAST_PER_SESSION = 2      # streams of a session, on average: output of a single one has nothing to share with
    ENOUGH_EVENTS = 16         # a batch with this number of events is large enough without a pause, or after a shorter one
    WORTH_EVENTS = 4           # a pause with this number of events is worth a longer one
    SHRINKS = 16               # part of its length that a pause loses
    PEAK_FADES = 8             # part of the most open streams that is forgotten in each turn
    MOST_SKIPPED = 64          # most batches without a pause, after pauses in which nothing came

cdef extern from * nogil:
    """
    #include <time.h>

    static inline void lbcore_pause(long ns) {
        struct timespec time = {0, ns};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
    }
    """
    void sleep_for "lbcore_pause"(long ns)


cdef void pauses_init(Pauses* pauses) noexcept nogil:
    memset(pauses, 0, sizeof(Pauses))
    pauses.longer_ns = LEAST_NS


cdef bint pauses_fit(Pauses* pauses, int gathers, int count) noexcept nogil:
    """Whether output waits for that of further events, under load, after a batch of `count`.

    gathers  the Gathering of that of the output which gathers the longest.
    """
    pauses.peak = max(pauses.peak, pauses.streams[0], pauses.streams[1])           # most have one at each end
    if (gathers == NO_GATHERING or count >= ENOUGH_EVENTS or pauses.peak < LEAST_STREAMS
            or pauses.streams[0] + pauses.streams[1] < LEAST_PER_SESSION * pauses.sessions):
        return False
    if pauses.skipped:
        pauses.skipped -= 1
        return False
    return True


cdef void pauses_sleep(Pauses* pauses, int gathers) noexcept nogil:
    """Make a pause."""
    sleep_for(pauses.longer_ns if gathers == GATHERS_LONGER else LEAST_NS)
    pauses.made += 1


cdef void pauses_judge(Pauses* pauses, int gathers, int count) noexcept nogil:
    """So many events have come in a pause. Where none do, pauses become seldom.

    Those of what gathers longer grow while each brings some events, but not more than one batch should have, and shrink otherwise.
    """
    cdef long most_ns = min(<long>MOST_NS, <long>(pauses.peak * PER_STREAM_NS))
    if gathers == GATHERS_LONGER:
        if WORTH_EVENTS <= count < ENOUGH_EVENTS:
            pauses.longer_ns *= 2
        else:
            pauses.longer_ns -= pauses.longer_ns // SHRINKS
        pauses.longer_ns = max(<long>LEAST_NS, min(pauses.longer_ns, most_ns))
    pauses.doubt = 0 if count else min(2 * pauses.doubt + 1, <int>MOST_SKIPPED)
    pauses.skipped = pauses.doubt


cdef void pauses_turn_over(Pauses* pauses) noexcept nogil:
    """A turn of the reactor is over: what was open at most is forgotten slowly, because clients with many streams in flight do not
    have all of them here all the time."""
    pauses.peak -= pauses.peak // PEAK_FADES
