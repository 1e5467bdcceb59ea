"""Frequent wake-ups, so that the kernel looks often who is to run.

Where a thread computes for milliseconds, another one that wakes up runs at once, or else, if the kernel owes it nothing at that time,
at the next tick: after up to 4 ms (HZ=250). Each time a third thread has woken up and sleeps again, the kernel chooses anew, too.
"""

from libc.stdint cimport int64_t

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sched.h>
    #include <stdint.h>
    #include <time.h>

    struct lbcore_ticks {
        volatile int calls, processor, over;
        volatile int64_t ended_ns;
    };

    static int64_t lbcore_read_ns(clockid_t clock) {
        struct timespec now;
        clock_gettime(clock, &now);
        return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
    }

    static void lbcore_tick(const struct lbcore_ticks* ticks, long period_ns, int64_t after_ns) {
        enum { GROUP = 4 };                     /* ticks between two looks at what was computed */
        struct timespec period = {0, period_ns}, group = {0, GROUP * period_ns};
        int64_t computed_ns = -1;
        while (!ticks->over && (ticks->calls > 0 || lbcore_read_ns(CLOCK_MONOTONIC) - ticks->ended_ns < after_ns)) {
            int64_t before_ns = computed_ns;
            computed_ns = lbcore_read_ns(CLOCK_PROCESS_CPUTIME_ID);
            if (before_ns >= 0 && computed_ns - before_ns < GROUP * period_ns / 4) {     /* they wait for something */
                clock_nanosleep(CLOCK_MONOTONIC, 0, &group, NULL);
                continue;
            }
            cpu_set_t there;
            CPU_ZERO(&there);
            CPU_SET(ticks->processor, &there);
            sched_setaffinity(0, sizeof there, &there);
            for (int i = 0; i < GROUP; i++)
                clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
        }
    }
    """
    cdef struct lbcore_ticks:
        int calls
        int processor
        int over
        int64_t ended_ns
    int CLOCK_MONOTONIC
    int64_t lbcore_read_ns(int clock)
    void lbcore_tick(const lbcore_ticks* ticks, long period_ns, int64_t after_ns)
    int sched_getcpu()


cdef class Ticker:
    """What a thread that ticks knows of the calls of other threads. All methods may be called in any thread.

    period_ns  between two wake-ups.
    after_ns   for which ticks go on after the last call.
    """

    cdef lbcore_ticks ticks
    cdef long period_ns
    cdef int64_t after_ns

    def __cinit__(self, long period_ns, int64_t after_ns):
        self.period_ns, self.after_ns = period_ns, after_ns

    def count(self, int step) -> None:
        """Count a call that may begin (1), or that has ended (-1)."""
        self.ticks.ended_ns = lbcore_read_ns(CLOCK_MONOTONIC)
        self.ticks.calls += step

    def begin(self) -> None:
        """Tick on the processor of this thread, which begins a call."""
        self.ticks.processor = sched_getcpu()

    def run(self) -> None:
        """Tick while there are calls, and those that compute. Without the interpreter's lock, which they may hold."""
        with nogil:
            lbcore_tick(&self.ticks, self.period_ns, self.after_ns)

    def end(self) -> None:
        """Have `run` return now, and from now on."""
        self.ticks.over = 1
