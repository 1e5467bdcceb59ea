# What every algorithm is: servers with weights, and a way to choose one of them.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.load cimport Load
from lbcore.selection.selector cimport Selector


cdef class Algorithm


cdef class Shaper(Selector):
    cdef int shape(self, Algorithm selector) except -1
    cdef int freed(self, Algorithm selector) except -1
    cdef int lease_over(self, object server, object note, bint ok, str kind) except -1


cdef class Algorithm(Selector):
    # All arrays are owned: `make_room` allocates and moves them, `__dealloc__` frees them. Each has `room` items, by index, of
    # which the first `count` are in use. A pointer into one is valid until the next change, that is until `begin_change` returns.
    cdef list names                    # the servers, by index
    cdef dict index_of                 # server -> index
    cdef Py_ssize_t count              # servers
    cdef Py_ssize_t room               # items of each array
    cdef uint32_t* weights             # as given
    cdef uint32_t* open                # the weight to pick by; 0 while the server may not be picked
    cdef uint8_t* up                   # 0 = `set_up` forbids picks
    cdef uint64_t* epochs              # a number that is unique to each addition of a server; ascending
    cdef Load* loads
    cdef Load** load_at                # the address of each server's load; here always into `loads`
    cdef uint64_t* picks               # times that `pick` or a lease returned the server
    cdef uint32_t* limits              # the highest cost that may be in flight; 0 = no limit
    cdef uint8_t* full                 # 1 = the cost in flight has reached the limit
    cdef Py_ssize_t n_full             # servers that are full
    cdef uint64_t in_flight_total      # the cost in flight at all servers
    cdef uint64_t last_epoch
    cdef uint64_t seed
    cdef uint64_t random               # state of rng.pxd
    cdef bint keyed                    # the algorithm chooses by a key
    cdef bint plain_keys               # `key_hash` of a str is `hash_text`
    cdef bint stateful                 # a pick changes the next one, so only one thread at a time may pick
    cdef int hash                      # HashKind of keys and of names
    cdef bint attention                # `attend` has to be called before the next pick: `stale`, or another thread is at work
    cdef bint stale                    # `prepare` has to be called
    cdef int at_work                   # calls of `pick_many` that run without the GIL, and changes or `prepare` that are running
    cdef int waiting                   # threads that wait for `at_work` to become 0
    cdef uint64_t changes              # so far
    cdef Shaper shaper                 # the outermost wrapper; None = there is none
    cdef bint reserved                 # free capacity belongs to the requests that wait in `limiter`
    cdef Shaper limiter                # the wrapper that sets `limits`; its `freed` is called; None = there is none

    # What an algorithm implements
    cdef int prepare(self) except -1
    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil
    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil
    cdef int choose_roomy(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil
    cdef int key_hash(self, object key, uint64_t* found) except -1
    cdef void note_end(self, Py_ssize_t index, uint64_t latency_ns, bint ok, uint64_t now_ns) noexcept nogil
    cdef int take_out(self, Py_ssize_t index) except -1
    cdef void came(self, Py_ssize_t index) noexcept nogil
    cdef dict options(self)
    cdef dict extra_state(self)
    cdef int restore_extra(self, dict state) except -1

    # What an algorithm may call
    cdef int setup(self, object servers, object seed) except -1

    cdef int make_room(self, Py_ssize_t room) except -1
    cdef int append(self, object server, object weight, bint up) except -1
    cdef int check(self, object server) except -1
    cdef int drop(self, Py_ssize_t index) except -1
    cdef Py_ssize_t find(self, object server) except -1
    cdef int attend(self) except -1
    cdef int quiesce(self) except -1
    cdef int enter(self) except -1
    cdef int leave(self) except -1
    cdef int begin_change(self) except -1
    cdef int end_change(self, bint changed) except -1
    cdef int change(self) except -1
    cdef int fill(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) except -1
    cdef list choose_n(self, uint64_t key, Py_ssize_t wanted, object accept, object exclude, uint64_t cost)
    cdef int occupy(self, Py_ssize_t index, uint64_t cost) except -1
    cdef int vacate(self, Py_ssize_t index, uint64_t cost) except -1
    cdef int weigh_full(self) except -1
    cdef dict statistics(self, Selector outermost)
    cdef list listing(self)
    cdef Py_ssize_t pick_index(self, object key, object accept, object exclude, uint64_t cost) except -1
    cdef object no_server(self)


cdef uint64_t checked_cost(object cost) except? 0
