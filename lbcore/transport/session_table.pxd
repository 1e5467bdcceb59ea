# The sessions of a UDP socket: found by their client's address, and listed by their last use.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef struct SessionKey:
    uint8_t client[16]         # network order; IPv4 as ::ffff:a.b.c.d
    uint8_t local[16]          # the address to which the client sends, likewise; all zero if the socket has only one
    uint32_t scope             # the interface of a link-local client
    uint16_t port              # of the client, network order
    uint16_t unused


cdef struct SessionNode:       # a part of the session that `owner` points to, with the same lifetime
    SessionKey key
    uint64_t hash
    int64_t active_ms          # time of the last datagram either way
    void* owner                # a UdpSession, of which the table's user owns a reference while the node is in the table
    SessionList* list          # NULL = in no table
    SessionNode* older         # neighbours in `list`; NULL at its ends
    SessionNode* newer
    SessionNode* chained       # the next one in the bucket; NULL = the last one


cdef struct SessionList:       # in the order of `active_ms`
    SessionNode* oldest
    SessionNode* newest


cdef struct SessionTable:
    SessionNode** buckets      # owned; NULL = empty so far
    uint64_t mask              # number of buckets - 1
    uint64_t seed
    Py_ssize_t count
    SessionList fresh          # clients that were not seen to receive: their addresses may be false
    SessionList proved         # clients that have sent again after an answer


cdef void sessions_init(SessionTable* table, uint64_t seed) noexcept nogil
cdef void sessions_free(SessionTable* table) noexcept nogil
cdef uint64_t sessions_hash(const SessionTable* table, const SessionKey* key) noexcept nogil
cdef SessionNode* sessions_find(const SessionTable* table, const SessionKey* key, uint64_t hash) noexcept nogil
cdef int sessions_add(SessionTable* table, SessionNode* node, int64_t now_ms) noexcept nogil
cdef void sessions_remove(SessionTable* table, SessionNode* node) noexcept nogil
cdef void sessions_touch(SessionNode* node, int64_t now_ms) noexcept nogil
cdef void sessions_prove(SessionTable* table, SessionNode* node) noexcept nogil
cdef SessionNode* sessions_to_shed(SessionTable* table) noexcept nogil
cdef SessionNode* sessions_oldest(const SessionTable* table) noexcept nogil
