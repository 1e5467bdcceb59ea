"""Prequal: the server with the best answer to a recent probe. No I/O; the caller sends the probes.

A pool holds recent probes, each with a server's requests in flight and its latency. A server is hot if its requests in flight
are above a quantile of the pool's. Of the cold servers the one with the lowest latency is picked; if all are hot, the one with the
fewest requests in flight. A probe may be used for b = max(1, (1 + delta) / ((1 - m/n) * r_probe - r_remove)) picks, with a pool of m
probes and n servers; each of these picks adds to the probe's requests in flight. With every pick r_remove probes are removed,
alternately the oldest and the worst. Source: B. Wydrowski et al., Load is not what you should balance: introducing Prequal, NSDI 2024 (arXiv 2312.10172).
Vector: a pool of a (1 in flight, 30 ms), b (2, 20 ms), c (9, 10 ms) and quantile 0.84 has c hot and gives b.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memmove

from lbcore.selection.alias cimport alias_draw, alias_draw_but, alias_member
from lbcore.selection.rng cimport random_below, random_next
from lbcore.selection.timed cimport Timed, positive_ns

cdef enum:
    FEW = 2                    # with fewer probes a pick is random
    MOST_USES = 1 << 20        # uses of a probe if the formula has no bound; the probe's age ends them


cdef void pool_drop(ProbePool* pool, int at) noexcept nogil:
    pool.size -= 1
    memmove(&pool.probes[at], &pool.probes[at + 1], (pool.size - at) * sizeof(Probe))


cdef void pool_put(ProbePool* pool, Probe probe) noexcept nogil:
    """Add a probe. It replaces the server's previous one, or the oldest if the pool is full. O(pool)."""
    cdef int i
    for i in range(pool.size):
        if pool.probes[i].index == probe.index:
            pool_drop(pool, i)
            break
    if pool.size >= pool.limit:
        pool_drop(pool, 0)
    pool.probes[pool.size] = probe
    pool.size += 1


cdef void pool_expire(ProbePool* pool, uint64_t now_ns) noexcept nogil:
    while pool.size and <int64_t>(now_ns - pool.probes[0].at_ns) > <int64_t>pool.age_ns:
        pool_drop(pool, 0)


cdef uint64_t pool_threshold(const ProbePool* pool) noexcept nogil:
    """The requests in flight above which a server is hot: the quantile, by the nearest rank below. O(pool**2)."""
    cdef uint64_t sorted[PREQUAL_MOST]
    cdef uint64_t value
    cdef int i, at
    for i in range(pool.size):
        value = pool.probes[i].in_flight
        at = i
        while at > 0 and sorted[at - 1] > value:
            sorted[at] = sorted[at - 1]
            at -= 1
        sorted[at] = value
    return sorted[<int>(pool.quantile * (pool.size - 1))]


cdef inline bint probe_better(const Probe* a, const Probe* b, uint64_t threshold) noexcept nogil:
    cdef bint a_hot = a.in_flight > threshold, b_hot = b.in_flight > threshold
    if a_hot != b_hot:
        return b_hot
    if a_hot or a.latency_ns == b.latency_ns:
        return a.in_flight < b.in_flight
    return a.latency_ns < b.latency_ns


cdef int pool_best(const ProbePool* pool, const uint8_t* barred) noexcept nogil:
    """The position of the best probe; -1 if fewer than two probes are of servers that are not barred. O(pool**2) at worst."""
    cdef uint64_t threshold
    cdef int i, best = -1, seen = 0
    if pool.size < FEW:
        return -1
    threshold = pool_threshold(pool)
    for i in range(pool.size):
        if barred != NULL and barred[pool.probes[i].index]:
            continue
        seen += 1
        if best < 0 or probe_better(&pool.probes[i], &pool.probes[best], threshold):
            best = i
    return best if seen >= FEW else -1


cdef void pool_use(ProbePool* pool, int at) noexcept nogil:
    """Count a pick by a probe, and do the removals that are due, while more than FEW probes are left."""
    cdef uint64_t threshold
    cdef int i, worst
    pool.probes[at].in_flight += 1
    pool.probes[at].uses -= 1
    if pool.probes[at].uses == 0:
        pool_drop(pool, at)
    pool.to_remove = min(pool.to_remove + pool.removal, <double>pool.limit)
    while pool.to_remove >= 1:
        pool.to_remove -= 1
        if pool.size <= FEW:
            continue
        worst = 0
        if pool.worst_next:
            threshold = pool_threshold(pool)
            for i in range(1, pool.size):
                if probe_better(&pool.probes[worst], &pool.probes[i], threshold):
                    worst = i
        pool_drop(pool, worst)
        pool.worst_next = not pool.worst_next


cdef double checked(str name, object value, double least, double most) except? -1:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} has to be a number, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} has to be between {least:.12g} and {most:.12g}, not {value!r}")
    return value


@cython.final
cdef class Prequal(Timed):
    """Prequal(servers=(), *, seed=0, probes_per_pick=3.0, pool=16, max_age_s=1.0, \
        quantile=0.84, removals_per_pick=1.0, delta=1.0)\n--\n\nPicks by the answers to probes, which the caller sends beside its requests: `to_probe` says to which servers, `probe` takes answers.

    probes_per_pick    r_probe: probes to send for every pick.
    pool               m: the size of the pool, 2 to 256.
    max_age_s          older probes are dropped.
    quantile           of requests in flight, above which a server is hot. With 0 only these count, with 1 only latency.
    removals_per_pick  r_remove: probes removed with every pick.
    delta              how much more often than necessary a probe is used.
    Weights decide how often a server is probed, and the random picks with fewer than two probes. A request that failed
    (`report`, or a lease) removes its server's probe from the pool. A pick is O(pool), whatever the number of servers. A change
    costs O(n) before the next pick; probes are kept. Memory: 8 bytes per server, more if weights differ.
    """

    def __init__(self, servers=(), *, seed: int = 0, probes_per_pick: float = 3.0, pool: int = 16, max_age_s: float = 1.0,
                 quantile: float = 0.84, removals_per_pick: float = 1.0, delta: float = 1.0):
        if isinstance(pool, bool) or not isinstance(pool, int):
            raise TypeError(f"pool has to be an int, not {pool!r}")
        self.probes.limit = <int>checked("pool", pool, FEW, PREQUAL_MOST)
        self.probes.age_ns = positive_ns("max_age_s", max_age_s)
        self.probes.quantile = checked("quantile", quantile, 0, 1)
        self.probes.removal = checked("removals_per_pick", removals_per_pick, 0, 64)
        self.per_pick = checked("probes_per_pick", probes_per_pick, 0, 64)
        self.delta = checked("delta", delta, 0, 1000)
        self.given = {
            "probes_per_pick": probes_per_pick, "pool": pool, "max_age_s": max_age_s, "quantile": quantile,
            "removals_per_pick": removals_per_pick, "delta": delta,
        }
        self.setup(servers, seed)
        self.owed = self.probes.limit

    def __dealloc__(self):
        free(self.epochs_seen)

    cdef int prepare(self) except -1:
        """Give probes the new indexes of their servers, and drop those of servers that were removed or may not be picked."""
        cdef Py_ssize_t i, old = 0
        cdef int at = 0
        cdef double budget
        cdef uint64_t* seen = <uint64_t*>malloc((self.count + 1) * sizeof(uint64_t))
        cdef uint32_t* moved = <uint32_t*>malloc((self.n_seen + 1) * sizeof(uint32_t))
        if seen == NULL or moved == NULL:
            free(seen)
            free(moved)
            raise MemoryError
        for i in range(self.n_seen):
            moved[i] = 0xFFFFFFFF
        for i in range(self.count):
            # Both are in the order of epochs.
            seen[i] = self.epochs[i]
            while old < self.n_seen and self.epochs_seen[old] < seen[i]:
                old += 1
            if old < self.n_seen and self.epochs_seen[old] == seen[i] and self.open[i]:
                moved[old] = <uint32_t>i
        while at < self.probes.size:
            if moved[self.probes.probes[at].index] == 0xFFFFFFFF:
                pool_drop(&self.probes, at)
            else:
                self.probes.probes[at].index = moved[self.probes.probes[at].index]
                at += 1
        free(moved)
        free(self.epochs_seen)
        self.epochs_seen = seen
        self.n_seen = self.count
        Timed.prepare(self)
        self.reuse = MOST_USES
        if self.alias.size:
            budget = (1 - self.probes.limit / <double>self.alias.size) * self.per_pick - self.probes.removal
            if budget > 0:
                self.reuse = min(max((1 + self.delta) / budget, 1.0), <double>MOST_USES)
        return 0

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        cdef int at
        cdef uint32_t index
        if self.alias.size == 0:
            return -1
        self.owed = min(self.owed + self.per_pick, <double>self.probes.limit)
        pool_expire(&self.probes, self.now_ns())
        at = pool_best(&self.probes, barred)
        if at < 0:
            if barred == NULL:
                return alias_draw(&self.alias, &self.random)
            return alias_draw_but(&self.alias, self.open, barred, -1, &self.random)
        index = self.probes.probes[at].index
        pool_use(&self.probes, at)
        return index

    cdef void note_end(self, Py_ssize_t index, uint64_t latency_ns, bint ok, uint64_t now_ns) noexcept nogil:
        cdef int i
        if not ok:
            for i in range(self.probes.size):
                if self.probes.probes[i].index == index:
                    pool_drop(&self.probes, i)
                    break

    @cython.critical_section
    def probe(self, server, in_flight: int, latency_s: float) -> None:
        """Take the answer to a probe: the server's requests in flight, and the latency that it expects with that many.

        Ignores a server that may not be picked. Raises KeyError, or ValueError for numbers below 0 or too large. O(pool).
        """
        cdef Probe found
        cdef Py_ssize_t index
        cdef double uses
        if not 0 <= in_flight < 1 << 40 or not 0 <= latency_s <= 86400:
            raise ValueError(f"a probe of {server!r} with {in_flight!r} requests in flight and {latency_s!r} seconds")
        if self.attention:
            self.attend()
        index = self.find(server)
        if self.open[index] == 0:
            return
        found.index = <uint32_t>index
        found.in_flight = in_flight
        found.latency_ns = <uint64_t>int(latency_s * 1e9)
        found.at_ns = self.now_ns()
        # A fractional number of uses is met on average.
        uses = self.reuse
        found.uses = <uint32_t>uses
        if (random_next(&self.random) >> 11) < (uses - found.uses) * 9007199254740992.0:
            found.uses += 1
        pool_put(&self.probes, found)

    @cython.critical_section
    def to_probe(self) -> list:
        """The servers to probe now, all different, drawn by weight: as many as the picks since the last call require.

        The first call, and a call after a pause, returns as many as the pool holds. Probes without an answer are not repeated.
        """
        cdef Py_ssize_t wanted
        cdef uint32_t index, tries, slot
        cdef list found = []
        cdef set taken = set()
        if self.attention:
            self.attend()
        pool_expire(&self.probes, self.now_ns())
        wanted = min(<Py_ssize_t>self.owed, <Py_ssize_t>self.alias.size)
        self.owed -= <Py_ssize_t>self.owed
        for tries in range(4 * wanted):
            if len(taken) == wanted:
                break
            index = alias_draw(&self.alias, &self.random)
            if index not in taken:
                taken.add(index)
                found.append(self.names[index])
        if len(taken) < wanted:
            # A few servers have nearly all the weight, or nearly all servers are wanted.
            slot = random_below(&self.random, self.alias.size)
            while len(taken) < wanted:
                index = alias_member(&self.alias, slot)
                slot = slot + 1 if slot + 1 < self.alias.size else 0
                if index not in taken:
                    taken.add(index)
                    found.append(self.names[index])
        return found

    @cython.critical_section
    def pool(self) -> list:
        """The probes in the pool, oldest first: `(server, in_flight, latency_s)`. `in_flight` includes the picks since."""
        cdef int i
        if self.attention:
            self.attend()
        pool_expire(&self.probes, self.now_ns())
        return [(self.names[<Py_ssize_t>self.probes.probes[i].index], self.probes.probes[i].in_flight, self.probes.probes[i].latency_ns * 1e-9)
                for i in range(self.probes.size)]

    cdef int shift(self, uint64_t by_ns) except -1:
        cdef int i
        for i in range(self.probes.size):
            self.probes.probes[i].at_ns += by_ns
        return Timed.shift(self, by_ns)

    cdef dict options(self):
        return dict(self.given)

    cdef dict extra_state(self):
        cdef uint64_t now = self.now_ns()
        cdef int i
        cdef list probes = []
        for i in range(self.probes.size):
            probes.append([self.probes.probes[i].index, self.probes.probes[i].in_flight, self.probes.probes[i].latency_ns,
                           now - self.probes.probes[i].at_ns, self.probes.probes[i].uses])
        return {
            **Timed.extra_state(self), "probes": probes, "owed": self.owed, "to_remove": self.probes.to_remove,
            "worst_next": self.probes.worst_next != 0,
        }

    cdef int restore_extra(self, dict state) except -1:
        cdef uint64_t now
        cdef Probe found
        Timed.restore_extra(self, state)
        now = self.now_ns()
        self.probes.size = 0
        for index, in_flight, latency_ns, age_ns, uses in state["probes"]:
            found.index, found.in_flight, found.latency_ns, found.uses = index, in_flight, latency_ns, uses
            found.at_ns = now - <uint64_t>age_ns
            pool_put(&self.probes, found)
        self.owed = state["owed"]
        self.probes.to_remove = state["to_remove"]
        self.probes.worst_next = state["worst_next"]
        return 0
