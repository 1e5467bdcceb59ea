"""A thread that wakes up often, so that the kernel looks often who is to run.

Where a thread computes for milliseconds, another one that wakes up runs at once, or else, if the kernel owes it nothing at that time,
at the next tick: after up to 4 ms (HZ=250). Each time a third thread has woken up and sleeps again, the kernel chooses anew, too.
"""

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sched.h>
    #include <time.h>

    static void lbcore_tick(int cpu, long period_ns, int count) {
        struct timespec period = {0, period_ns};
        cpu_set_t there;
        CPU_ZERO(&there);
        CPU_SET(cpu, &there);
        sched_setaffinity(0, sizeof there, &there);
        while (count-- > 0)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
    }
    """
    void lbcore_tick(int cpu, long period_ns, int count)
    int sched_getcpu()


def processor() -> int:
    """The number of the one on which this thread runs at this moment."""
    return sched_getcpu()


def tick(int cpu, long period_ns, int count) -> None:
    """Wake up `count` times on a processor, if this thread may run there. It has the interpreter's lock only before and after that."""
    with nogil:
        lbcore_tick(cpu, period_ns, count)
