# QUIC over the UDP port of an entry point: sockets, the connections that packets belong to, and their clock.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.http3.ngtcp2 cimport Cid, ConnRef, PacketHead, Path
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.tls.handshake cimport Handshake
from lbcore.transport.flow cimport FlowSession
from lbcore.transport.inet cimport SocketAddress
from lbcore.transport.reactor cimport Channel, Reactor
from lbcore.transport.reserve cimport Reserve

cdef enum:
    OWN_CID_BYTES = 16         # of the connection ids that we choose
    STEERING_BYTES = 2         # at their beginning: they say which worker's socket a packet goes to, see process.listeners
    OUTPUT_BYTES = 65535       # of one call that sends


cdef class QuicSession(FlowSession):
    cdef QuicEndpoint endpoint         # None once it has closed
    cdef void* conn                    # ngtcp2_conn, owned; NULL once it has closed
    cdef void* context                 # ngtcp2_crypto_ossl_ctx, owned
    cdef Handshake handshake           # owns the SSL
    cdef ConnRef reference             # which the SSL refers to
    cdef uint64_t expiry_ns            # when `expire` is due, by the monotonic clock
    cdef Py_ssize_t place              # in the endpoint's heap; -1: in none
    cdef bytes first_id                # the connection id that the client chose for the server
    cdef bint shaking                  # the handshake is not complete
    cdef bint waits                    # in `QuicEndpoint.waiting`

    cdef int receive(self, const Path* path, const uint8_t* packet, size_t length, uint64_t now_ns) except -1
    cdef int expire(self, uint64_t now_ns) except -1
    cdef int shut(self, object error) except -1


cdef class QuicSocket(Channel):
    cdef QuicEndpoint endpoint
    cdef object sock
    cdef bint adopted                  # it is that of another worker, which cannot read it for now
    cdef bint wildcard                 # it is bound to all addresses: packets tell the local one
    cdef int family
    cdef SocketAddress local           # its address
    cdef uint32_t local_length
    cdef bint watches_output

    cdef int look(self) except -1
    cdef int send(self, const Path* path, const uint8_t* packets, size_t length, size_t segment) noexcept
    cdef int watch_output(self, bint watch) except -1


cdef class QuicClock(Channel):
    cdef QuicEndpoint endpoint


cdef struct Slot:                      # of the table of connection ids
    uint8_t id[OWN_CID_BYTES]
    void* session                      # QuicSession, borrowed: it takes its ids out when it closes; NULL: free


cdef class QuicEndpoint:
    cdef EntryPoint entry_point
    cdef Reactor reactor
    cdef Dialer dialer
    cdef set connections               # all open ClientConnections of the entry point
    cdef Reserve reserve
    cdef uint32_t worker               # the ids of this worker's connections are congruent to this, modulo `workers`
    cdef uint32_t workers
    cdef uint8_t secret[32]            # of all workers: for tokens
    cdef list sockets                  # QuicSocket; the first one is this worker's own
    cdef QuicClock clock
    cdef bint closing                  # no connection begins any more
    cdef Slot* slots                   # owned; open addressing, its size a power of two
    cdef size_t capacity
    cdef size_t used
    cdef dict first_ids                # QuicSession by the id that its client chose
    cdef dict ended                    # by that id, of connections that have closed: the last packet, and until when it is kept
    cdef void** heap                   # owned; QuicSessions, borrowed, by `expiry_ns`
    cdef Py_ssize_t heap_length
    cdef Py_ssize_t heap_size
    cdef uint64_t armed_ns             # when the clock fires; 0: it does not
    cdef Py_ssize_t shaking            # connections whose handshake is not complete
    cdef double allowance              # packets that may be sent without a connection, now
    cdef uint64_t allowed_ns           # when `allowance` was computed
    cdef bytes held                    # packets that the socket did not take; None: there are none
    cdef size_t held_segment
    cdef uint64_t held_path[12]        # a Path, and the two addresses
    cdef list waiting                  # QuicSessions that have something to send when the socket takes more

    cdef int datagram(self, QuicSocket socket, const Path* path, const uint8_t* packet, size_t length) except -1
    cdef int unknown(self, QuicSocket socket, const Path* path, const uint8_t* packet, size_t length, uint64_t now_ns) except -1
    cdef int begin(self, const Path* path, PacketHead* head, const uint8_t* packet, size_t length, uint64_t now_ns) except -1
    cdef int negotiate_version(self, const Path* path, const uint8_t* packet, size_t length) except -1
    cdef int reset_unknown(self, const Path* path, const uint8_t* packet, size_t length) except -1
    cdef int ask_for_token(self, const Path* path, PacketHead* head, uint64_t now_ns) except -1
    cdef int turn_away(self, const Path* path, PacketHead* head, uint64_t code) except -1
    cdef bint allow(self, uint64_t now_ns) noexcept
    cdef QuicSession accept(self, const Path* path, PacketHead* head, const Cid* original, bint validated, uint64_t now_ns)
    cdef int send(self, const Path* path, const uint8_t* packets, size_t length, size_t segment) except -1
    cdef void keep_path(self, const Path* path) noexcept
    cdef int resume(self) except -1
    cdef size_t slot_of(self, const uint8_t* cid) noexcept
    cdef void make_id(self, Cid* cid, size_t length) noexcept
    cdef int reset_token(self, uint8_t* token, const Cid* cid) noexcept
    cdef QuicSession find(self, const uint8_t* cid)
    cdef int add_id(self, const Cid* cid, QuicSession session) noexcept
    cdef void remove_id(self, const Cid* cid) noexcept
    cdef int remember_end(self, bytes first_id, bytes packet) except -1
    cdef int schedule(self, QuicSession session, uint64_t expiry_ns) except -1
    cdef void unschedule(self, QuicSession session) noexcept
    cdef void swap(self, Py_ssize_t a, Py_ssize_t b) noexcept
    cdef void sift(self, Py_ssize_t place) noexcept
    cdef void arm(self) noexcept
    cdef int expire(self) except -1


cdef uint8_t* OUTPUT                   # OUTPUT_BYTES, of this thread
