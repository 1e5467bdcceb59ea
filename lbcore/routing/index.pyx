"""The route index: finds the router of a request. No I/O.

Each rule implies necessary conditions: one of some exact hosts, and one of some paths or path prefixes. Routers are filed under these,
in the order of priority. A lookup searches under the request's host and under no host; there under its path, under every filed prefix
of it, and under no path; and checks the candidates with their whole rules. The cost therefore depends on the few routers that might
match, not on the others. With many routers every read of memory misses the caches, so a host's slot holds all that a lookup needs to
know of the host.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lbcore.http.head cimport RequestHead
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, span_of
from lbcore.routing.matcher cimport Program, Test, read_head, run

import os
from functools import lru_cache

from lbcore.config.rule import REMEMBERED, And, Matcher, Not, Or, host_of
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


def facts_of(rule):
    """The program of a rule, and what it requires: hosts, paths."""
    return Program(rule), exact_hosts(rule), paths(rule)


# Those of the last rules: most rules of a configuration are in the next one, too. Programs are immutable.
remembered = lru_cache(maxsize=REMEMBERED)(facts_of)


@cython.final
cdef class RouteIndex:
    """The routers of one entry point.

    routes  `(rule, payload)` pairs, with rules as `config.rule.parse_rule` returns them, in the order of trial.

    Immutable. Building is O(routes); the cost of a lookup does not depend on routes that cannot match.
    """

    def __cinit__(self, routes):
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.payloads = tuple(payload for _, payload in routes)
        facts = []
        for rule, _ in routes:
            # A long rule is not remembered: it is looked up by all of its parts, one within the other.
            facts.append(remembered(rule) if count_matchers(rule) <= SHORT else facts_of(rule))
            give_way(len(facts))
        self.programs = tuple([program for program, _, _ in facts])
        self.build(facts)

    def __dealloc__(self):
        free(self.hosts)
        free(self.slots)
        free(self.entries)
        free(self.lengths)

    def build(self, facts: list) -> None:
        filed = {}                          # (bucket, kind, text) -> ranks
        numbers = {NO_HOST: 0}              # key of a host -> bucket; two hosts with one key share it, as the whole rule is checked
        lengths = [set()]
        for rank, (_, hosts, under) in enumerate(facts):
            give_way(rank)
            for host in hosts or (None,):
                self.has_hosts = self.has_hosts or host is not None
                self.has_labels = self.has_labels or (host is not None and host.startswith("*"))
                bucket = numbers.setdefault(NO_HOST if host is None else self.key(host, AT_HOST, 0), len(numbers))
                if bucket == len(lengths):
                    lengths.append(set())
                for kind, path in under or ((AT_REST, ""),):
                    if kind == AT_PREFIX:
                        size = len(path.encode(errors="surrogateescape"))
                        if size not in lengths[bucket] and len(lengths[bucket]) >= MAX_LENGTHS:
                            kind, path = AT_REST, ""
                        else:
                            lengths[bucket].add(size)
                    ranks = filed.setdefault((bucket, kind, path), [])
                    if not ranks or ranks[len(ranks) - 1] != rank:
                        ranks.append(rank)
        self.fill(filed, numbers, lengths)

    cdef int fill(self, dict filed, dict numbers, list lengths) except -1:
        cdef uint64_t key, size
        cdef uint32_t at = 0, used = 0
        cdef Bucket* bucket
        cdef Slot* slot
        rests = {}                          # bucket -> ranks
        lists = {}                          # key -> ranks
        with_paths = set()
        for (number, kind, path), ranks in filed.items():
            give_way(number)
            if kind == AT_REST:
                rests[number] = ranks
                continue
            if kind == AT_PATH:
                with_paths.add(number)
            key = self.key(path, kind, number)
            # Two paths with one key share a list: the whole rule is checked anyway.
            lists[key] = sorted({*lists.get(key, ()), *ranks})
        size = table_size(len(numbers))
        self.hosts = <Bucket*>calloc(size, sizeof(Bucket))
        self.host_mask = size - 1
        size = table_size(len(lists))
        self.slots = <Slot*>calloc(size, sizeof(Slot))
        self.mask = size - 1
        self.entries = <Entry*>calloc(sum(map(len, lists.values())) + sum(map(len, rests.values())) + 1, sizeof(Entry))
        self.lengths = <uint32_t*>calloc(sum(map(len, lengths)) + 1, sizeof(uint32_t))
        if self.hosts == NULL or self.slots == NULL or self.entries == NULL or self.lengths == NULL:
            raise MemoryError
        for key, number in numbers.items():
            give_way(number)
            bucket = &self.anywhere if key == NO_HOST else self.bucket(key)
            bucket.key = key
            bucket.number = number
            bucket.has_paths = number in with_paths
            bucket.first = used
            bucket.count = self.enter(rests.get(number, ()), used)
            used += bucket.count
            bucket.first_length = at
            bucket.n_lengths = len(lengths[<int>number])
            for length in sorted(lengths[<int>number]):
                self.lengths[at] = length
                at += 1
        for key, ranks in lists.items():
            slot = self.lookup(key)
            slot.key = key
            slot.first = used
            slot.count = self.enter(ranks, used)
            used += slot.count
        return 0

    cdef uint32_t enter(self, object ranks, uint32_t at) except? 0xFFFFFFFF:
        """Write a list into `entries`. Returns its length."""
        cdef Entry* entry = self.entries + at
        for rank in ranks:
            entry.rank = rank
            entry.tests = (<Program>self.programs[<int>rank]).tests
            entry.payload = <PyObject*>self.payloads[<int>rank]
            entry += 1
        return <uint32_t>len(ranks)

    cdef uint64_t key(self, str text, uint64_t kind, uint64_t bucket):
        encoded = text.encode(errors="surrogateescape")
        return key_of(extend(self.seed, encoded, len(encoded)), kind, bucket)

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
        """The payload of the first router that matches, or None."""
        cdef const Entry* entry = self.first_match(head)
        return None if entry == NULL else <object>entry.payload

    def route(self, head: bytes, client: str = "192.0.2.1"):
        """`find` for the bytes of a request head, for tests and tools. Raises ValueError if the head is refused."""
        cdef Request request = read_head(head, client)
        return self.find(&request.head)
