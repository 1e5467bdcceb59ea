# The layout of the shared region: every struct in it, each a multiple of a cache line (64 bytes).
#
# Region = Header page, ServiceCell[services], ServerCell[servers], WorkerStats[workers], ServerStats[workers][servers],
# ServiceStats[workers][services], MetricRow[workers][METRIC_ROWS], LabelRow[workers][LABEL_ROWS],
# DenialRow[workers][DENIAL_ROWS], KeyedPart[workers + 1], KeyedRow[workers + 1][KEYED_ROWS],
# LogRing[RING_KINDS][workers].
# Cells with several writers are accessed only with the functions of atomic.pxd. Rows with one writer, a worker, are incremented
# plainly; readers sum the rows of all workers. A page that was never touched costs no memory.
# A change of a struct has to raise LAYOUT_VERSION.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.load cimport Load

cdef enum:
    SECRET_BYTES = 32          # of the secret of the instance
    LAYOUT_VERSION = 22
    HEADER_BYTES = 4096
    MAX_WORKERS = 1024
    MAX_ENTRY_POINTS = 64
    FAILURE_TIMES = 16         # number of failures whose times are stored
    STATUS_CLASSES = 6         # index = status // 100; 0 counts exchanges that ended without an answer
    MAX_BUCKETS = 27           # of the histogram of durations, less the one for everything
    METRIC_ROWS = 65536        # per worker: sets of labels
    LABEL_ROWS = 8192          # per worker: sets of labels with values of headers
    LABEL_SHED_ROWS = 1024     # of these, those for requests whose values had no room
    LABEL_BYTES = 992          # of the values in one row
    MAX_LABELS = 8             # headers whose values are labels
    DENIAL_ROWS = 16384        # per worker: middlewares that have refused something
    KEYED_ROWS = 65536         # per worker, and shared by all: keys that are limited; a power of two
    HANDSHAKE_CAUSES = 5       # HandshakeCause
    DATAGRAM_LOSSES = 5        # DatagramLoss
    ERROR_KINDS = 16           # room; ErrorKind uses the first ones
    LOG_RING_BYTES = 1 << 24   # of each ring of a worker; a power of two
    TICKET_KEYS = 4            # of session tickets of TLS: one that encrypts, two older ones, and one being made
    TICKET_KEY_BYTES = 80      # name 16, AES-256 32, HMAC 32
    TIME_BUCKETS = 48          # of the histograms of durations; see durations
    MAX_TAPS = 16              # who watch single requests at a time


cdef enum RingKind:            # what goes through rings from workers to the one that reads them
    RING_LINES = 0             # of the access log
    RING_SPANS                 # of traces
    RING_RECORDS               # of the access log, for a collector
    RING_TAPS                  # single requests, for those who watch them
    RING_KINDS


cdef enum HandshakeCause:      # why a client's handshake failed; index into EntryPointStats.handshakes_failed
    HANDSHAKE_CLOSED           # the connection ended, or its time
    HANDSHAKE_REFUSED          # the client sent an alert: it does not trust the certificate, for one
    HANDSHAKE_UNSHARED         # no version, suite or protocol in common, or no certificate for the name
    HANDSHAKE_CERTIFICATE      # the client's certificate is missing, or not trusted
    HANDSHAKE_GARBAGE          # what came is not TLS as it should be


cdef enum ErrorKind:           # why an exchange failed; index into EntryPointStats.errors
    ERROR_BAD_REQUEST          # the client broke the protocol: answered with 4xx
    ERROR_CLIENT_TIMEOUT       # the client was too slow with its head or body
    ERROR_CLIENT_ABORT         # the client has gone before its answer was complete
    ERROR_NO_ROUTER            # no rule matched
    ERROR_NO_SERVER            # no server may be picked
    ERROR_REFUSED              # this and what follows, to ERROR_GARBAGE: an attempt at a server failed
    ERROR_TIMEOUT
    ERROR_RESET
    ERROR_EOF
    ERROR_RESOLVE
    ERROR_TLS
    ERROR_GARBAGE
    ERROR_INTERNAL             # a bug of lbcore: answered with 500
    ERROR_RESOURCE             # lbcore lacked a descriptor, port or memory: answered with 503, and no failure of the server
    ERROR_ABUSE                # a connection of TLS, HTTP/2 or HTTP/3 was ended: it cost more than it brought
    ERROR_CLOSED               # an operator has ended the session


cdef enum DatagramWay:         # index into EntryPointStats.datagrams_lost
    CLIENT_TO_SERVER
    SERVER_TO_CLIENT


cdef enum DatagramLoss:        # why a datagram of UDP was not passed on; index into EntryPointStats.datagrams_lost
    LOST_UNSERVED              # no router, or no server that may be picked
    LOST_REFUSED               # the server refuses it, and no other one could be asked
    LOST_LACKING               # lbcore lacked a descriptor, a port or memory
    LOST_UNSENT                # the kernel did not send it: too long for the way, no way, no room
    LOST_OVERFLOWED            # the kernel had no room for it when it came in


cdef struct TapCell:           # of one who watches single requests; atomic
    uint64_t left              # requests that may still be shown: granted by the supervisor, taken by workers
    uint64_t skipped           # requests that fitted when nothing was left


cdef struct Header:
    uint64_t magic             # REGION_MAGIC, written last at creation
    uint32_t layout_version    # LAYOUT_VERSION
    uint32_t struct_bytes      # the sizes of all structs folded into one number: catches a mismatched build
    uint64_t region_bytes
    uint32_t workers           # rows per statistic
    uint32_t services          # cells
    uint32_t servers           # cells
    uint32_t servers_used      # slots below this one have been given out at some time; atomic, grows only
    uint32_t services_used     # likewise
    uint32_t keyed_lock        # worker + 1 that holds all KeyedRows; 0 = none; atomic
    uint64_t generation        # configurations published so far; atomic
    uint64_t eligibility       # number of times that any server has gone up or down, or changed its weight; atomic
    int64_t started_unix_ns    # wall clock at creation
    int64_t started_ns         # monotonic clock at creation
    uint64_t body_memory       # bytes of request bodies that all workers keep; atomic
    uint64_t body_memory_limit # limit of `body_memory`; set at creation
    uint64_t breaker_trips     # number of times that any circuit breaker has opened; atomic
    uint32_t instances         # of the fleet that live, this one among them; 0 = there is no fleet; atomic, written by the supervisor alone
    uint32_t unused
    uint64_t apart[8]          # keeps the fields below, which change with every logged request, off the cache lines above
    uint64_t log_requests      # counted by the access log, over all workers; atomic
    uint64_t lost[RING_KINDS]  # what rings had no room for, or could not be written, by RingKind; atomic
    uint64_t ticket_epoch      # the key `ticket_epoch` modulo TICKET_KEYS encrypts; atomic, written by the supervisor alone
    uint8_t ticket_keys[TICKET_KEYS][TICKET_KEY_BYTES]
    uint8_t secret[SECRET_BYTES]           # of the instance, from which keys are derived that all workers share; set at creation
    uint64_t tapped_until_ns   # monotonic time until which somebody watches single requests; written by the supervisor alone; atomic
    uint64_t beside[7]         # keeps `taps`, which change while somebody watches, off the cache line that each request reads
    TapCell taps[MAX_TAPS]


cdef struct ServiceCell:       # one per service; shared by all workers, atomic
    uint64_t sequence          # picks taken so far, but for `further`: position in the round-robin cycle
    uint64_t mirrored          # requests seen by a mirroring service
    uint32_t down              # 1 = fewer children are up than the service needs; follows the children
    uint32_t unused
    uint64_t changed_ns        # monotonic time of the last flip of `down`
    uint64_t in_flight         # exchanges not ended; kept for a service that counts those of its servers
    uint64_t sessions_kept     # requests that went to the member of their session
    uint64_t sessions_begun    # that were given a member for their session, a new or another one
    uint64_t further           # picks for further attempts of requests, which have an order of their own


cdef enum DownReason:          # bits of ServerCell.down
    DOWN_CHECK = 1             # an active check failed
    DOWN_EJECTED = 2           # too many failed requests
    DOWN_ADMIN = 4             # excluded by an operator


cdef struct ServerCell:        # one per server, and per child of a service that chooses among services; shared, atomic
    uint32_t down              # DownReason bits; 0 = may be picked
    uint32_t generation        # number of identities that this slot had before
    uint32_t weight            # overrides the configured weight, ...
    uint32_t weight_set        # ... if this is 1
    Load load                  # exchanges in flight of all workers, and their time to first byte; kept if a strategy or limit needs it
    uint64_t changed_ns        # monotonic time of the last change of `down`
    uint32_t debt              # picks by a cookie that were not charged yet
    uint32_t trial             # after an ejection: 1 = one request may try the server, 2 = one does
    uint32_t failures          # failed requests since the last success
    uint32_t ejections         # consecutive ejections, each longer than the previous one
    uint32_t failed_at_ms[FAILURE_TIMES]  # monotonic times of the last failures; a ring
    uint32_t ramp_percent      # part of its weight that counts during slow start, 1 to 99; 0 = all of it
    uint32_t reserve[13]


cdef struct ServerStats:       # one per worker and server; written by that worker alone
    uint64_t requests          # exchanges sent to the server, retries included
    uint64_t in_flight         # of these, not ended yet
    uint64_t connect_errors    # connection refused, timed out, unreachable, name not resolved
    uint64_t retries           # those of `requests` that repeat one: after a failure, elsewhere or on a stale connection, or as a hedge
    uint64_t responses[STATUS_CLASSES]
    uint64_t bytes_in          # body bytes from the server
    uint64_t bytes_out         # body bytes to the server
    uint64_t shed              # copies for a mirror that were not sent: too many under way, or their client went away
    uint64_t oversized         # likewise: the body was too long
    uint64_t first_byte_ns     # sum of the times to first byte, if an observer or a strategy needs them
    uint64_t held              # exchanges of this worker that `ServerCell.load` counts
    uint64_t wanted_since_ns   # monotonic time since which the oldest request for exactly this server waits; 0 = none does
    uint64_t slow              # of a middleware in Python, whose calls are `requests`: calls that have held the event loop for too long
    uint64_t failed            # likewise: calls that have raised
    uint64_t expired           # likewise: calls that had not ended in their time
    uint64_t hedges            # those of `retries` that began while another server was asked
    uint64_t hedges_won        # those of `hedges` whose answer was the client's
    uint64_t reserve[2]
    uint32_t first_bytes[TIME_BUCKETS]     # answers by the time to first byte; modulo 2**32


cdef struct ServiceStats:      # one per worker and service or router; written by that worker alone
    uint64_t requests          # of a router: those that it took; at layer 4 connections
    uint64_t waiting           # requests in the queue of the service
    uint64_t wanting           # of these, those that wait for the server of their session
    uint64_t oldest_ns         # monotonic time since which the oldest of the others waits; 0 = none does
    uint64_t polled_ns         # monotonic time at which this worker last served its queue
    uint64_t queued            # requests that had to wait
    uint64_t timed_out         # those of `queued` that waited in vain
    uint64_t rejected          # requests for which the queue had no room
    uint64_t abandoned         # those of `queued` whose client has gone
    uint64_t responses[STATUS_CLASSES]     # of a router: the ends of its `requests`
    uint64_t denied            # of a router: those of its `requests` that a middleware has refused
    uint32_t durations[TIME_BUCKETS]       # of a router: its `requests` by the time from head to end; modulo 2**32


cdef struct MetricRow:         # requests with one set of labels; written by one worker alone
    uint64_t key               # the labels: see observability.series
    uint64_t count
    uint64_t duration_ns       # sum
    uint64_t bytes_in          # of bodies
    uint64_t bytes_out
    uint64_t buckets[MAX_BUCKETS]  # requests that took no longer than this bound and longer than the one before


cdef struct LabelRow:          # requests with one set of labels and of values of headers; written by one worker alone
    uint64_t key               # the other labels: see observability.series
    uint64_t hash              # of key and values
    uint64_t count
    uint32_t length            # of `text`; 0 = the values had no room
    uint32_t unused
    char text[LABEL_BYTES]     # each value behind its length, which is one byte


cdef struct DenialRow:         # what one middleware has refused; written by one worker alone. Four of them are a cache line
    uint64_t key               # of the middleware: see holdings.denial_key
    uint64_t count


cdef struct KeyedPart:         # the rows of one worker, or, in the last part, the shared ones; protected by Header.keyed_lock
    uint64_t rows              # in use
    uint64_t evicted           # rows evicted to make room
    uint64_t refused           # keys for which there was no room
    uint32_t hand              # position at which the next eviction begins to search
    uint32_t unused
    uint64_t reserve[4]


cdef struct KeyedRow:          # one key in a group; protected by Header.keyed_lock
    uint8_t key[16]            # an address as in ClientAddress, or a hash
    uint64_t group             # identity of the limit
    int64_t count              # held now; rows above 0 are not evicted
    int64_t value              # use so far, in units of its user
    uint64_t touched_ns        # monotonic time of the last use
    uint32_t used              # 0 = the row is free
    uint32_t unused
    uint64_t reserve


cdef struct EntryPointStats:   # one per worker and entry point; written by that worker alone
    uint64_t accepted          # client connections
    uint64_t open_connections  # of these, not closed yet
    uint64_t requests          # heads parsed
    uint64_t responses[STATUS_CLASSES]
    uint64_t errors[ERROR_KINDS]
    uint64_t bytes_in          # from clients, heads included
    uint64_t bytes_out         # to clients, heads included
    uint64_t handshakes_failed[HANDSHAKE_CAUSES]   # of ERROR_TLS, by cause
    uint64_t datagrams_in      # of UDP: from clients, those that were lost included
    uint64_t datagrams_out     # sent to clients
    uint64_t datagrams_lost[2][DATAGRAM_LOSSES]    # by DatagramWay and DatagramLoss
    uint64_t sessions_shed     # sessions that were ended to make room for others
    uint64_t denied            # requests, and connections of layer 4, that a middleware has refused
    uint64_t reserve[2]
    uint32_t durations[TIME_BUCKETS]       # of its requests; modulo 2**32


cdef struct WorkerStats:       # one per worker; its totals are the sums over its entry points
    uint64_t heartbeat_ns      # monotonic time of the last iteration of its loop
    uint64_t generation        # of the configuration that it runs
    uint64_t metric_rows       # number of its MetricRows in use, which are the first ones
    uint64_t body_memory       # this worker's part of Header.body_memory
    uint64_t bodies_shed       # bodies, or parts of one, for which Header.body_memory_limit had no room
    uint64_t connections_shed  # idle connections, of clients and to servers, that were closed for want of descriptors
    uint64_t passwords_shed    # checks of passwords that were refused since too many waited
    uint64_t retries_denied    # attempts for which the budget of `retry` had no room
    uint64_t stores_missed     # requests about which a limit has decided without its store, since that was away
    uint64_t label_rows        # number of its LabelRows in use, which are the first ones
    uint64_t labels_shed       # requests for whose values of headers there was no row
    uint64_t denial_rows       # number of its DenialRows in use, which are the first ones
    uint64_t denials_shed      # refusals of middlewares for which there was no row
    uint64_t reserve[3]
    EntryPointStats entry_points[MAX_ENTRY_POINTS]  # index = position in the static configuration


cdef struct LogRing:           # lines of one worker that are not written yet, or what else RingKind names
    uint64_t filled            # bytes put since the beginning; atomic, stored by the worker
    uint64_t apart[7]
    uint64_t emptied           # bytes written or lost since the beginning; atomic, stored by the writer of the log
    uint64_t unused[7]
    char data[LOG_RING_BYTES]  # see observability.ring
