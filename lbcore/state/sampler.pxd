# What the counters of all workers add up to, look by look.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.state.layout cimport TIME_BUCKETS
from lbcore.state.region cimport Region

cdef enum Word:                # index into the sums of an object
    W_REQUESTS = 0             # of routers: that it took; of entry points: heads parsed
    W_RESPONSES                # by class of status, STATUS_CLASSES words
    W_CONNECT_ERRORS = 7
    W_RETRIES                  # of entry points: datagrams from clients
    W_BYTES_IN
    W_BYTES_OUT
    W_SHED                     # copies for a mirror that were not sent
    W_QUEUED                   # of entry points: connections
    W_KEPT                     # sessions
    W_BEGUN
    W_DENIED                   # requests and connections that middlewares have refused: of routers and entry points
    W_IN_FLIGHT                # from here on numbers of the moment, which no rate is made of
    W_WAITING                  # in the queue; of entry points: open connections
    WORDS


cdef struct Base:              # what was counted when a window began
    uint64_t words[WORDS]
    uint32_t times[TIME_BUCKETS]


cdef struct Track:             # one object
    uint64_t words[WORDS]      # at the last look
    uint64_t fresh[WORDS]      # being added up by the present look
    uint64_t told[WORDS]       # at the last `take`
    uint64_t told_ns           # monotonic time of that
    uint64_t look              # number of the last look that has visited it
    uint32_t times[TIME_BUCKETS]
    Base bases[2]              # the older window, and the newer one


cdef enum Height:              # index into the maxima of an object
    H_IN_FLIGHT = 0
    H_WAITING                  # as W_WAITING
    H_RATE                     # requests within a second
    H_ACCEPTED                 # of entry points: connections within a second
    HEIGHTS


cdef struct Peak:              # the maxima of one object
    double most[HEIGHTS]
    uint64_t at_ns[HEIGHTS]    # monotonic time of the look that has found it
    uint64_t counted[2]        # W_REQUESTS and W_QUEUED at the last second
    double rate                # of the last second
    uint64_t look              # number of the look that has ended it


cdef struct Summand:           # a member whose numbers are a part of those of a service
    uint32_t service           # slots
    uint32_t member
    uint32_t parts             # SUM_RATE, SUM_IN_FLIGHT


cdef class Sampler:
    cdef Region region
    cdef uint32_t points               # entry points
    cdef Track* tracks[3]              # by Kind; owned: an entry for each slot, of which only those touched cost memory
    cdef uint64_t* states[3]           # of cells at the last look, each folded into one number; owned, likewise
    cdef uint64_t* until_ns[3]         # monotonic times until which slots count as active, since they have changed; owned, likewise
    cdef uint32_t* visited             # slots that the present look has found in use; owned
    cdef uint32_t n_visited
    cdef readonly uint64_t looks
    cdef uint64_t looked_ns            # monotonic time of the last look
    cdef Peak* peaks[3]                # by Kind; owned, as `tracks`
    cdef Summand* summands             # of one service after the other; owned
    cdef Py_ssize_t n_summands
    cdef uint64_t second_ns            # monotonic time of the last look that has ended a second
    cdef double second_s               # length of the second that the present look ends; 0 = it ends none
    cdef uint64_t turned_ns[2]         # monotonic times at which the windows began: the older one, the newer one

    cdef uint32_t used(self, int kind) noexcept nogil
    cdef void look_at(self, int kind, uint64_t now_ns) noexcept nogil
    cdef void add_rows(self, int kind, uint32_t worker, uint32_t first, uint32_t after) noexcept nogil
    cdef void add_row(self, int kind, uint32_t worker, uint32_t slot) noexcept nogil
    cdef Track* enter(self, int kind, uint32_t slot) noexcept nogil
    cdef void settle(self, int kind, uint32_t slot, uint64_t now_ns) noexcept nogil
    cdef void take_peaks(self, int kind, uint32_t slot, uint64_t now_ns) noexcept nogil
    cdef void forget_peak(self, int kind, uint32_t slot, bint wholly) noexcept nogil
    cdef void add_summands(self, uint64_t now_ns) noexcept nogil
    cdef int look_now(self, bint ends_second) except -1
    cdef void read_times(self, int kind, uint32_t slot) noexcept nogil
    cdef uint64_t state_of(self, int kind, uint32_t slot) noexcept nogil
    cdef Track* track(self, int kind, uint32_t slot) except NULL
