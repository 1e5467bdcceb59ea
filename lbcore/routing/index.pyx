"""The route index: finds the router of a request. No I/O.

Each rule implies necessary conditions: one of some exact hosts, and one of some paths or path prefixes. Routers are filed under these,
in the order of priority. A lookup searches under the request's host and under no host; there under its path, under every filed prefix
of it, and under no path; and checks the candidates with their whole rules. The cost therefore depends on the few routers that might
match, not on the others. With many routers every read of memory misses the caches, so a host's slot holds all that a lookup needs to
know of the host.

What a rule is filed under is found once for each rule. An index is then built without the GIL, while requests go on.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from lbcore.http.head cimport RequestHead
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span
from lbcore.regex.shortage cimport check_shortage
from lbcore.routing.matcher cimport Program, read_head, run

import os
from functools import lru_cache

from lbcore.config.rule import REMEMBERED, And, Matcher, Or, host_of
from lbcore.routing.matcher import count_matchers, operands

cdef enum:
    AT_HOST = 1                # kinds of keys
    AT_PATH = 2
    AT_PREFIX = 3
    AT_REST = 4                # no path asked for: no key
    NO_HOST = 0                # a key is never 0
    SHORT = 8                  # most matchers of a rule that is remembered
    MAX_LENGTHS = 64           # most prefix lengths of a bucket that are looked up; routers with others are filed under the shortest

cdef uint64_t PRIME = 0x100000001B3


cdef inline int give_way(Py_ssize_t turn) except -1:
    """Let another thread have a turn now and then: the loop that moves traffic, while an index is built beside it."""
    if turn & 63 == 63:
        with nogil:
            pass
    return 0


cdef inline uint64_t mix(uint64_t h) noexcept nogil:
    """A finaliser: every bit of `h` reaches every bit of the result (Stafford's variant 13 of MurmurHash3's)."""
    h = (h ^ (h >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    h = (h ^ (h >> 27)) * <uint64_t>0x94D049BB133111EB
    return h ^ (h >> 31)


cdef inline uint64_t extend(uint64_t h, const char* ptr, Py_ssize_t length) noexcept nogil:
    """Continue FNV-1a. Colliding keys only make a request check more routers."""
    cdef Py_ssize_t i
    for i in range(length):
        h = (h ^ <uint8_t>ptr[i]) * PRIME
    return h


cdef inline uint64_t key_of(uint64_t h, uint64_t kind, uint64_t bucket) noexcept nogil:
    return mix(h + kind * <uint64_t>0x9E3779B97F4A7C15 + bucket * <uint64_t>0xD6E8FEB86659FD93) | 1


cdef uint64_t table_size(uint64_t count) noexcept nogil:
    """The number of slots of a hash table that is at most half full, a power of two."""
    cdef uint64_t size = 16
    while size < 2 * count:
        size *= 2
    return size


def exact_hosts(rule):
    """The hosts of which a rule requires one, with `*.x` for any label before x; None if it requires none."""
    if isinstance(rule, Matcher):
        host = host_of(rule.args[0]) if rule.name == "Host" else "*"
        return None if host == "*" else frozenset({host})
    if isinstance(rule, And):
        found = [hosts for part in operands(rule, And) if (hosts := exact_hosts(part)) is not None]
        return min(found, key=len) if found else None
    if isinstance(rule, Or):
        found = [exact_hosts(part) for part in operands(rule, Or)]
        return None if None in found else frozenset().union(*found)
    return None


def paths(rule):
    """The `(AT_PATH or AT_PREFIX, path)` pairs of which a rule requires one; None if it requires none."""
    if isinstance(rule, Matcher):
        if rule.name == "Path":
            return frozenset({(AT_PATH, rule.args[0])})
        if rule.name == "PathPrefix" and rule.args[0] != "/":
            return frozenset({(AT_PREFIX, rule.args[0])})
        return None
    if isinstance(rule, And):
        found = [some for part in operands(rule, And) if (some := paths(part)) is not None]
        return min(found, key=lambda some: (any(kind == AT_PREFIX for kind, _ in some), len(some),
                                            -min(len(text) for _, text in some))) if found else None
    if isinstance(rule, Or):
        found = [paths(part) for part in operands(rule, Or)]
        return None if None in found else frozenset().union(*found)
    return None


cdef uint64_t SEED = int.from_bytes(os.urandom(8), "little")   # of the hashes of this process


cdef struct Made:              # a bucket under way
    uint64_t key
    uint32_t first             # in `entries`: where its next router without a path goes
    uint32_t count
    uint32_t last              # rank of the last one, plus 1
    uint32_t lengths           # the first in the list of its prefix lengths: position in `Scratch.lengths` plus 1
    uint32_t n_lengths
    uint32_t has_paths

cdef struct Listed:            # the list of a path under way; a slot of a hash table, empty when `count` is 0
    uint64_t key
    uint32_t first             # in `entries`: where the next one goes
    uint32_t count
    uint32_t last              # rank of the last one, plus 1

cdef struct Numbered:          # a host; a slot of a hash table, empty when `key` is 0
    uint64_t key
    uint32_t number

cdef struct Record:            # a router in a list: that of a path, or, with `key` 0, that of a bucket
    uint64_t key
    uint32_t bucket
    uint32_t rank

cdef struct Length:
    uint32_t length
    uint32_t next              # position plus 1

cdef struct Scratch:           # what is needed while an index is built; owned by `RouteIndex.build`
    Numbered* numbers
    uint64_t numbers_mask
    Made* made
    uint32_t n_made
    Listed* lists
    uint64_t lists_mask
    uint32_t n_lists
    Record* records
    uint32_t n_records
    Length* lengths
    uint32_t n_lengths


cdef uint32_t number_of(Scratch* scratch, uint64_t key) noexcept nogil:
    """The number of a host's bucket, which is made if it is new. Two hosts with one key share it: whole rules are checked."""
    cdef uint64_t at = key & scratch.numbers_mask
    if key == NO_HOST:
        return 0
    while scratch.numbers[at].key and scratch.numbers[at].key != key:
        at = (at + 1) & scratch.numbers_mask
    if scratch.numbers[at].key == 0:
        scratch.numbers[at].key = key
        scratch.numbers[at].number = scratch.n_made
        scratch.made[scratch.n_made].key = key
        scratch.n_made += 1
    return scratch.numbers[at].number


cdef Listed* list_of(Scratch* scratch, uint64_t key) noexcept nogil:
    """The list of a path, or the empty slot in its place. Two paths with one key share it: whole rules are checked."""
    cdef uint64_t at = key & scratch.lists_mask
    while scratch.lists[at].count and scratch.lists[at].key != key:
        at = (at + 1) & scratch.lists_mask
    return &scratch.lists[at]


cdef bint has_length(Scratch* scratch, Made* made, uint32_t length) noexcept nogil:
    """Whether prefixes of this length are looked up in a bucket: from now on, if there are not too many."""
    cdef uint32_t at = made.lengths
    while at:
        if scratch.lengths[at - 1].length == length:
            return True
        at = scratch.lengths[at - 1].next
    if made.n_lengths >= MAX_LENGTHS:
        return False
    scratch.lengths[scratch.n_lengths].length = length
    scratch.lengths[scratch.n_lengths].next = made.lengths
    scratch.n_lengths += 1
    made.lengths = scratch.n_lengths
    made.n_lengths += 1
    return True


cdef void file_under(Scratch* scratch, uint32_t number, const Place* place, uint32_t rank) noexcept nogil:
    """Record a router in a bucket, under a path or under none."""
    cdef Made* made = &scratch.made[number]
    cdef Listed* listed
    cdef Record* record = &scratch.records[scratch.n_records]
    if place.kind == AT_REST or (place.kind == AT_PREFIX and not has_length(scratch, made, place.length)):
        if made.last == rank + 1:
            return
        made.last = rank + 1
        made.count += 1
        record.key = 0
    else:
        if place.kind == AT_PATH:
            made.has_paths = 1
        record.key = key_of(place.hash, place.kind, number)
        listed = list_of(scratch, record.key)
        if listed.count and listed.last == rank + 1:
            return
        if listed.count == 0:
            scratch.n_lists += 1
        listed.key = record.key
        listed.last = rank + 1
        listed.count += 1
    record.bucket = number
    record.rank = rank
    scratch.n_records += 1


@cython.final
cdef class FiledRule:
    """A rule, its program, and what it requires, by which it is filed. Immutable. Raises ValueError, as Program does."""

    def __cinit__(self, rule):
        cdef Py_ssize_t i
        self.rule = rule
        self.program = Program(rule)
        self.filing.tests = self.program.tests
        hosts, under = exact_hosts(rule), paths(rule)
        hosts, under = sorted(hosts or ()), sorted(under or ())
        self.filing.has_hosts = bool(hosts)
        self.filing.has_labels = any(host.startswith("*") for host in hosts)
        self.filing.n_hosts = <uint32_t>max(1, len(hosts))
        self.filing.n_places = <uint32_t>max(1, len(under))
        self.filing.hosts = <uint64_t*>calloc(self.filing.n_hosts, sizeof(uint64_t))
        self.filing.places = <Place*>calloc(self.filing.n_places, sizeof(Place))
        if self.filing.hosts == NULL or self.filing.places == NULL:
            raise MemoryError
        for i, host in enumerate(hosts):
            encoded = host.encode(errors="surrogateescape")
            self.filing.hosts[i] = key_of(extend(SEED, encoded, len(encoded)), AT_HOST, 0)
        self.filing.places[0].kind = AT_REST
        for i, (kind, path) in enumerate(under):
            encoded = path.encode(errors="surrogateescape")
            self.filing.places[i].kind = kind
            self.filing.places[i].length = <uint32_t>len(encoded)
            self.filing.places[i].hash = extend(SEED, encoded, len(encoded))

    def __dealloc__(self):
        free(self.filing.hosts)
        free(self.filing.places)


# Those of the last rules: most rules of a configuration are in the next one, too.
remembered = lru_cache(maxsize=REMEMBERED)(FiledRule)


def file_rule(rule) -> FiledRule:
    """What a rule is filed under. A long rule is not remembered: it is looked up by all of its parts, one within the other."""
    return remembered(rule) if count_matchers(rule) <= SHORT else FiledRule(rule)


@cython.final
cdef class RouteIndex:
    """The routers of one entry point.

    routes  `(rule, payload)` pairs in the order of trial, with rules as `file_rule` or `config.rule.parse_rule` return them.

    Immutable. Building is O(routes), nearly all of it without the GIL; the cost of a lookup does not depend on routes that cannot
    match.
    """

    def __cinit__(self, routes):
        cdef Py_ssize_t count = len(routes), i = 0
        cdef const Filing** filings = <const Filing**>malloc((count + 1) * sizeof(void*))
        cdef PyObject** payloads = <PyObject**>malloc((count + 1) * sizeof(void*))
        cdef FiledRule filed
        cdef int built = -1
        self.seed = SEED
        self.rules, self.payloads = [], []
        try:
            if filings == NULL or payloads == NULL:
                raise MemoryError
            for rule, payload in routes:
                filed = rule if type(rule) is FiledRule else file_rule(rule)
                self.rules.append(filed)
                self.payloads.append(payload)
                filings[i] = &filed.filing
                payloads[i] = <PyObject*>payload
                self.has_hosts = self.has_hosts or filed.filing.has_hosts
                self.has_labels = self.has_labels or filed.filing.has_labels
                give_way(i)
                i += 1
            with nogil:
                built = self.build(filings, payloads, count)
            if built < 0:
                raise MemoryError
        finally:
            free(filings)
            free(payloads)

    def __dealloc__(self):
        free(self.hosts)
        free(self.slots)
        free(self.entries)
        free(self.lengths)

    cdef int build(self, const Filing** filings, PyObject** payloads, Py_ssize_t count) noexcept nogil:
        """Build all tables. -1: there is no memory."""
        cdef Scratch scratch
        cdef uint64_t n_hosts = 1, total = 1
        cdef Py_ssize_t rank
        cdef uint32_t i, j, number
        cdef int built = -1
        for rank in range(count):
            n_hosts += filings[rank].n_hosts
            total += <uint64_t>filings[rank].n_hosts * filings[rank].n_places
        if total > <uint64_t>0x7FFFFFFF:
            return -1
        scratch.numbers_mask = table_size(n_hosts) - 1
        scratch.lists_mask = table_size(total) - 1
        scratch.numbers = <Numbered*>calloc(scratch.numbers_mask + 1, sizeof(Numbered))
        scratch.made = <Made*>calloc(n_hosts, sizeof(Made))
        scratch.lists = <Listed*>calloc(scratch.lists_mask + 1, sizeof(Listed))
        scratch.records = <Record*>calloc(total, sizeof(Record))
        scratch.lengths = <Length*>calloc(total, sizeof(Length))
        scratch.n_made = 1                  # number 0: no host
        scratch.n_lists = scratch.n_records = scratch.n_lengths = 0
        if (scratch.numbers != NULL and scratch.made != NULL and scratch.lists != NULL and scratch.records != NULL
                and scratch.lengths != NULL):
            for rank in range(count):
                for i in range(filings[rank].n_hosts):
                    number = number_of(&scratch, filings[rank].hosts[i])
                    for j in range(filings[rank].n_places):
                        file_under(&scratch, number, &filings[rank].places[j], <uint32_t>rank)
            built = self.fill(&scratch, filings, payloads)
        free(scratch.numbers)
        free(scratch.made)
        free(scratch.lists)
        free(scratch.records)
        free(scratch.lengths)
        return built

    cdef int fill(self, void* filed, const Filing** filings, PyObject** payloads) noexcept nogil:
        """Lay out what was filed in a Scratch. -1: there is no memory."""
        cdef Scratch* scratch = <Scratch*>filed
        cdef uint64_t size = table_size(scratch.n_made), place
        cdef uint32_t at, used = 0, length, sorted_to, begin, i
        cdef Bucket* bucket
        cdef Made* made
        cdef Listed* listed
        cdef Slot* slot
        cdef Entry* entry
        self.hosts = <Bucket*>calloc(size, sizeof(Bucket))
        self.host_mask = size - 1
        size = table_size(scratch.n_lists)
        self.slots = <Slot*>calloc(size, sizeof(Slot))
        self.mask = size - 1
        self.entries = <Entry*>calloc(scratch.n_records + 1, sizeof(Entry))
        self.lengths = <uint32_t*>calloc(scratch.n_lengths + 1, sizeof(uint32_t))
        if self.hosts == NULL or self.slots == NULL or self.entries == NULL or self.lengths == NULL:
            return -1
        begin = 0
        for i in range(scratch.n_made):
            made = &scratch.made[i]
            bucket = &self.anywhere if i == 0 else self.bucket(made.key)
            bucket.key = made.key
            bucket.number = i
            bucket.has_paths = made.has_paths
            bucket.first = made.first = used
            bucket.count = made.count
            used += made.count
            bucket.first_length = begin
            bucket.n_lengths = made.n_lengths
            at = made.lengths
            sorted_to = begin
            while at:                       # insert it in its order
                length = scratch.lengths[at - 1].length
                place = sorted_to
                while place > begin and self.lengths[place - 1] > length:
                    self.lengths[place] = self.lengths[place - 1]
                    place -= 1
                self.lengths[place] = length
                sorted_to += 1
                at = scratch.lengths[at - 1].next
            begin = sorted_to
        for place in range(scratch.lists_mask + 1):
            listed = &scratch.lists[place]
            if listed.count:
                slot = self.lookup(listed.key)
                slot.key = listed.key
                slot.first = listed.first = used
                slot.count = listed.count
                used += listed.count
        for i in range(scratch.n_records):
            if scratch.records[i].key == 0:
                made = &scratch.made[scratch.records[i].bucket]
                entry = &self.entries[made.first]
                made.first += 1
            else:
                listed = list_of(scratch, scratch.records[i].key)
                entry = &self.entries[listed.first]
                listed.first += 1
            entry.rank = scratch.records[i].rank
            entry.tests = filings[entry.rank].tests
            entry.payload = payloads[entry.rank]
        return 0

    cdef Bucket* bucket(self, uint64_t key) noexcept nogil:
        """The slot of a host, or the empty slot in its place."""
        cdef uint64_t at = key & self.host_mask
        while self.hosts[at].key and self.hosts[at].key != key:
            at = (at + 1) & self.host_mask
        return &self.hosts[at]

    cdef Slot* lookup(self, uint64_t key) noexcept nogil:
        """The slot of a path, or the empty slot in its place."""
        cdef uint64_t at = key & self.mask
        while self.slots[at].count and self.slots[at].key != key:
            at = (at + 1) & self.mask
        return &self.slots[at]

    cdef const Entry* scan(self, uint32_t first, uint32_t count, const RequestHead* head, const Entry* best) noexcept nogil:
        """The first router of a list that matches and precedes `best`, else `best`."""
        cdef const Entry* entry
        cdef uint32_t i
        for i in range(count):
            entry = &self.entries[first + i]
            if best != NULL and entry.rank >= best.rank:
                break
            if run(entry.tests, head):
                return entry
        return best

    cdef const Entry* search(self, const Bucket* bucket, const RequestHead* head, const Entry* best) noexcept nogil:
        """The first router of a bucket that matches and precedes `best`, else `best`."""
        cdef Span path = head.route_path
        cdef const uint32_t* lengths = self.lengths + bucket.first_length
        cdef const Slot* slot
        cdef uint32_t i
        cdef Py_ssize_t done = 0
        cdef uint64_t h = self.seed
        for i in range(bucket.n_lengths):
            if lengths[i] > path.len:
                break
            h = extend(h, path.ptr + done, lengths[i] - done)
            done = lengths[i]
            slot = self.lookup(key_of(h, AT_PREFIX, bucket.number))
            best = self.scan(slot.first, slot.count, head, best)
        if bucket.has_paths:
            h = extend(h, path.ptr + done, path.len - done)
            slot = self.lookup(key_of(h, AT_PATH, bucket.number))
            best = self.scan(slot.first, slot.count, head, best)
        return self.scan(bucket.first, bucket.count, head, best)

    cdef const Entry* first_match(self, const RequestHead* head) noexcept nogil:
        """The first router that matches, or NULL."""
        cdef Span host = head.host
        cdef const Bucket* bucket
        cdef Py_ssize_t dot = 0
        cdef const Entry* best = NULL
        if self.has_hosts:
            bucket = self.bucket(key_of(extend(self.seed, host.ptr, host.len), AT_HOST, 0))
            if bucket.key:
                best = self.search(bucket, head, best)
        if self.has_labels:
            while dot < host.len and host.ptr[dot] != c".":
                dot += 1
            if dot < host.len:
                bucket = self.bucket(
                    key_of(extend(extend(self.seed, b"*", 1), host.ptr + dot, host.len - dot), AT_HOST, 0))
                if bucket.key:
                    best = self.search(bucket, head, best)
        return self.search(&self.anywhere, head, best)

    cdef object find(self, const RequestHead* head):
        """The payload of the first router that matches, or None. Raises MemoryError if a rule could not be tried."""
        cdef const Entry* entry = self.first_match(head)
        check_shortage()
        return None if entry == NULL else <object>entry.payload

    def route(self, head: bytes, client: str = "192.0.2.1"):
        """`find` for the bytes of a request head, for tests and tools. Raises ValueError if the head is refused."""
        cdef Request request = read_head(head, client)
        return self.find(&request.head)
