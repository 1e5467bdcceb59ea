"""The sessions of a UDP socket: a hash table by the client's address, and two lists by last use. No I/O, no Python object.

All sessions of a socket have the same timeout, so that the order of their last use is that of their ends, and no session
needs a timer of its own. When there is no room, the session that is used least recently goes; those of clients that were
not seen to receive go first, so that a flood from false addresses drives out nobody who is talking to a server.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from lbcore.selection.mix cimport hash_bytes

cdef enum:
    FIRST_BUCKETS = 256        # a power of two


cdef void sessions_init(SessionTable* table, uint64_t seed) noexcept nogil:
    memset(table, 0, sizeof(SessionTable))
    table.seed = seed


cdef void sessions_free(SessionTable* table) noexcept nogil:
    free(table.buckets)
    table.buckets = NULL
    table.mask = 0


cdef uint64_t sessions_hash(const SessionTable* table, const SessionKey* key) noexcept nogil:
    return hash_bytes(<const char*>key, sizeof(SessionKey), table.seed)


cdef SessionNode* sessions_find(const SessionTable* table, const SessionKey* key, uint64_t hash) noexcept nogil:
    """The session of a client, or NULL. O(1) expected."""
    cdef SessionNode* node
    if table.buckets == NULL:
        return NULL
    node = table.buckets[hash & table.mask]
    while node != NULL:
        if node.hash == hash and memcmp(&node.key, key, sizeof(SessionKey)) == 0:
            return node
        node = node.chained
    return NULL


cdef inline void unlink_node(SessionNode* node) noexcept nogil:
    if node.older != NULL:
        node.older.newer = node.newer
    else:
        node.list.oldest = node.newer
    if node.newer != NULL:
        node.newer.older = node.older
    else:
        node.list.newest = node.older


cdef inline void append_node(SessionList* list, SessionNode* node) noexcept nogil:
    node.list = list
    node.older = list.newest
    node.newer = NULL
    if list.newest != NULL:
        list.newest.newer = node
    else:
        list.oldest = node
    list.newest = node


cdef int enlarge(SessionTable* table) noexcept nogil:
    """Double the buckets. Returns -1 without memory: the table stays as it is."""
    cdef uint64_t size = (table.mask + 1) * 2 if table.buckets != NULL else <uint64_t>FIRST_BUCKETS
    cdef SessionNode** buckets = <SessionNode**>calloc(size, sizeof(SessionNode*))
    cdef SessionNode* node
    cdef SessionNode* following
    cdef uint64_t i
    if buckets == NULL:
        return -1
    if table.buckets != NULL:
        for i in range(table.mask + 1):
            node = table.buckets[i]
            while node != NULL:
                following = node.chained
                node.chained = buckets[node.hash & (size - 1)]
                buckets[node.hash & (size - 1)] = node
                node = following
        free(table.buckets)
    table.buckets = buckets
    table.mask = size - 1
    return 0


cdef int sessions_add(SessionTable* table, SessionNode* node, int64_t now_ms) noexcept nogil:
    """Add a session, with `key`, `hash` and `owner` set, whose client is not in the table. Returns -1 without memory."""
    if table.buckets == NULL or <uint64_t>table.count > table.mask:
        if enlarge(table) < 0 and table.buckets == NULL:
            return -1
    node.chained = table.buckets[node.hash & table.mask]
    table.buckets[node.hash & table.mask] = node
    node.active_ms = now_ms
    append_node(&table.fresh, node)
    table.count += 1
    return 0


cdef void sessions_remove(SessionTable* table, SessionNode* node) noexcept nogil:
    """Remove a session. Does nothing if it is in no table."""
    cdef SessionNode** link
    if node.list == NULL:
        return
    link = &table.buckets[node.hash & table.mask]
    while link[0] != node:
        link = &link[0].chained
    link[0] = node.chained
    unlink_node(node)
    node.list = NULL
    node.chained = node.older = node.newer = NULL
    table.count -= 1


cdef void sessions_touch(SessionNode* node, int64_t now_ms) noexcept nogil:
    """Note that a session is used. O(1)."""
    cdef SessionList* list = node.list
    node.active_ms = now_ms
    if node.newer != NULL:
        unlink_node(node)
        append_node(list, node)


cdef void sessions_prove(SessionTable* table, SessionNode* node) noexcept nogil:
    """Note that the client of a session, used just now, is seen to receive."""
    unlink_node(node)
    append_node(&table.proved, node)


cdef SessionNode* sessions_to_shed(SessionTable* table) noexcept nogil:
    """The session that goes when there is no room; NULL = there is none."""
    return table.fresh.oldest if table.fresh.oldest != NULL else table.proved.oldest


cdef SessionNode* sessions_oldest(const SessionTable* table) noexcept nogil:
    """The session that was used least recently; NULL = there is none."""
    cdef SessionNode* fresh = table.fresh.oldest
    cdef SessionNode* proved = table.proved.oldest
    if fresh == NULL or proved == NULL:
        return fresh if proved == NULL else proved
    return fresh if fresh.active_ms <= proved.active_ms else proved
