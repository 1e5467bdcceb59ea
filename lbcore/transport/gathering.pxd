# Pauses in which the output of many streams gathers: when there is one, how long it is, and what it was worth.

cdef enum Gathering:           # of output, while many streams are open
    NO_GATHERING = 0
    GATHERS                    # it may wait a moment for that of others
    GATHERS_LONGER             # it may wait for several moments: what is sent together costs much less than one by one


cdef struct Pauses:            # of a reactor
    Py_ssize_t[2] streams      # open in all sessions, of clients and of servers
    Py_ssize_t sessions        # with open streams
    Py_ssize_t peak            # most open streams of late, of clients or of servers
    long longer_ns             # length of the next pause of what gathers longer
    Py_ssize_t made            # pauses so far
    int skipped                # batches left after which there is no pause
    int doubt                  # number of such batches after the last pause


cdef void pauses_init(Pauses* pauses) noexcept nogil
cdef bint pauses_fit(Pauses* pauses, int gathers, int count) noexcept nogil
cdef void pauses_sleep(Pauses* pauses, int gathers) noexcept nogil
cdef void pauses_judge(Pauses* pauses, int gathers, int count) noexcept nogil
cdef void pauses_turn_over(Pauses* pauses) noexcept nogil
