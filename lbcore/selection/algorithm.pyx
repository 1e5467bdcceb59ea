"""What every algorithm is: servers with weights, and a way to choose one of them. No I/O.

Every method is atomic: under the GIL, or in a free-threaded interpreter under the selector's critical section. `pick_many` runs
without either; other threads go on picking meanwhile where a pick changes nothing, and wait where it does. Changes wait always.

Both give way to other threads in the middle, when a server's own `__hash__` or `__eq__` runs, or building lets the GIL go. So a
change, and `prepare`, count themselves in `at_work`: until they are through, changes and picks of others wait. A server's
`__hash__`, `__eq__` and `__str__` must not use the selector they are in.
"""

from _collections_abc import Mapping                   # what collections.abc is, which loads more than all of this

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset
from posix.unistd cimport usleep

from lbcore.selection.abi cimport SELECTION_ABI
from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.hashing cimport HASH_MIX64, hash_key, hash_text
from lbcore.selection.load cimport Load
from lbcore.selection.rng cimport random_seeded
from lbcore.selection.selector cimport Selector
from lbcore.selection.weight cimport checked_weight

cdef enum:
    MAX_SERVERS = 1 << 24
    FIRST_ROOM = 8
    BLOCK = 1 << 20            # picks between two looks at signals
    WAIT_US = 20

STATE_VERSION = 1
ABI = SELECTION_ABI
CHANGES_LIMIT = 1000           # times that a pick begins again because `accept`, or another thread meanwhile, changed something
MAX_COST = 1 << 30
cdef tuple NOBODY = ()
cdef object Lease = None, fill_buffer = None, ServerStats = None   # of modules that need what is here


cdef list listed(object servers):
    """`[(server, weight)]` of what a constructor or `update` is given. Raises TypeError for what is neither servers nor pairs."""
    cdef Py_ssize_t paired = 0
    if isinstance(servers, (str, bytes, bytearray)):
        raise TypeError(f"servers are a mapping to weights, or a list: [{servers!r}] has one server, {servers!r} is none")
    if isinstance(servers, (Mapping, Selector)):
        return list(servers.items())
    try:
        found = list(servers)
    except TypeError:
        raise TypeError(f"servers are a mapping to weights, a list of servers or of (server, weight), not {servers!r}") from None
    for item in found:
        paired += type(item) is tuple and len(item) == 2 and isinstance(item[1], (int, float)) and not isinstance(item[1], bool)
    if paired and paired != len(found):
        raise TypeError("a list has either servers or pairs (server, weight), not both: a mapping says which is which")
    return found if paired else [(item, 1) for item in found]


cdef uint64_t checked_cost(object cost) except? 0:
    """What a request counts as. Raises TypeError or ValueError."""
    if isinstance(cost, bool) or not isinstance(cost, int):
        raise TypeError(f"the cost of a request has to be an int, not {cost!r}")
    if not 1 <= cost <= MAX_COST:
        raise ValueError(f"the cost of a request has to be between 1 and {MAX_COST}, not {cost}")
    return cost


cdef class Shaper(Selector):
    """What stands between weights and what may be picked: a wrapper of the algorithm."""

    cdef int shape(self, Algorithm selector) except -1:
        """Change `open`, which has just been worked out, by index. Called at the end of each change, while nobody picks."""
        return 0

    cdef int freed(self, Algorithm selector) except -1:
        """Something in flight at a server is over, or a change is through. For the one that is `limiter`."""
        return 0

    cdef int lease_over(self, object server, object note, bint ok, str kind) except -1:
        """A request under a lease that this one watches is over. `note`: what `Lease.watch` was given."""
        return 0


cdef class Algorithm(Selector):
    """Algorithm(servers=(), *, seed=0)\n--\n\nServers with weights. Weight 0: never picked. Made by its subclasses, each an algorithm.

    servers  a mapping from servers to weights (int, 0 to 2**30); or a list, of servers of weight 1, or of pairs (server, weight).
             In a list a tuple of something and a number is such a pair: servers that are tuples, as (host, port), are named in
             a mapping. Fractions as weights: see `scaled`.
    seed     an int; decides what an algorithm leaves to chance, or where it begins; the same seed and the same calls give the same
             picks in every process and on every platform.
    """

    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)

    cdef int setup(self, object servers, object seed) except -1:
        """Take over the servers. For constructors of subclasses, once their own settings are made."""
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"a seed has to be an int, not {seed!r}")
        self.seed = <uint64_t>(seed & 0xFFFFFFFFFFFFFFFF)
        self.random = random_seeded(self.seed)
        self.names = []
        self.index_of = {}
        self.count = self.n_full = 0
        for server, weight in listed(servers):
            self.append(server, weight, True)
        self.begin_change()
        return self.end_change(True)

    def __cinit__(self, *arguments, **named):
        self.names = []
        self.index_of = {}
        self.hash = HASH_MIX64
        self.attention = self.stale = True

    def __dealloc__(self):
        free(self.weights)
        free(self.open)
        free(self.up)
        free(self.epochs)
        free(self.loads)
        free(self.load_at)
        free(self.picks)
        free(self.limits)
        free(self.full)

    # What an algorithm implements

    cdef int prepare(self) except -1:
        """Build what choosing needs from `open`. Called before the first pick and after changes; nobody is picking."""
        return 0

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        """The index of a server of which `open` is not 0, or -1. `barred`: by index, not 0 = not this one; NULL = nobody.

        Bounded, without allocation. By a key: the first choice that is not barred.
        """
        return -1

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        """`choose` n times, for these keys or, when NULL, for none. Returns -1 when nobody may be picked."""
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.choose(0 if keys == NULL else keys[i], NULL)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0

    cdef int choose_roomy(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        """`choose_many` past the servers that are full."""
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.choose(0 if keys == NULL else keys[i], self.full)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0

    cdef int key_hash(self, object key, uint64_t* found) except -1:
        """What `choose` gets for a key."""
        return hash_key(key, self.hash, self.seed, found)

    cdef void note_end(self, Py_ssize_t index, uint64_t latency_ns, bint ok, uint64_t now_ns) noexcept nogil:
        """A request to a server has ended. It is no longer counted in its load."""

    cdef int take_out(self, Py_ssize_t index) except -1:
        """A server goes; those behind it move up by one."""
        return 0

    cdef dict options(self):
        """Keyword arguments, beyond `seed`, that make a selector like this one."""
        return {}

    cdef dict extra_state(self):
        """What `state` holds beyond servers, weights and who is up."""
        return {}

    cdef int restore_extra(self, dict state) except -1:
        return 0

    # Picking

    @cython.critical_section
    def pick(self, key=None, *, accept=None, exclude=NOBODY):
        """The server for the next request.

        key      str, bytes or int (64 bits); for selectors that choose by a key: the same key, the same server.
        accept   a function; servers for which it is false are passed over.
        exclude  servers that are passed over, in any container; a str or bytes is one server.
        Raises NoServerError when no server may be picked, TypeError when a key is needed and there is none.
        Cost: the algorithm's, which its class tells; with `accept` or `exclude` O(servers).
        """
        cdef uint64_t hash = 0
        cdef Py_ssize_t index
        if self.attention or self.n_full or accept is not None or exclude is not NOBODY:
            index = self.pick_index(key, accept, exclude, 1)
        else:
            if self.plain_keys and type(key) is str:
                hash_text(key, self.seed, &hash)
            elif self.keyed:
                self.key_hash(key, &hash)
            index = self.choose(hash, NULL)
            if index < 0:
                raise self.no_server()
        self.picks[index] += 1
        return self.names[index]

    cdef Py_ssize_t pick_index(self, object key, object accept, object exclude, uint64_t cost) except -1:
        """The index for a request of this cost: of a server that has room for it."""
        cdef uint64_t hash = 0
        cdef Py_ssize_t index
        if self.attention:
            self.attend()
        if self.keyed:
            self.key_hash(key, &hash)
        if accept is None and exclude is NOBODY and (cost == 1 or self.limiter is None):
            index = self.choose(hash, self.full if self.n_full else NULL)
        else:
            found = self.choose_n(hash, 1, accept, exclude, cost)
            index = found[0] if found else -1
        if index < 0:
            raise self.no_server()
        return index

    @cython.critical_section
    def pick_n(self, key=None, n: int = 1, *, accept=None, exclude=NOBODY) -> list:
        """`n` different servers for a key, the first choice first, then those that take over; fewer when there are fewer."""
        cdef uint64_t hash = 0
        if self.attention:
            self.attend()
        if self.keyed:
            self.key_hash(key, &hash)
        return [self.names[<Py_ssize_t>index] for index in self.choose_n(hash, n, accept, exclude, 1)]

    cdef list choose_n(self, uint64_t key, Py_ssize_t wanted, object accept, object exclude, uint64_t cost):
        """`choose` up to n different ones that are accepted, not excluded and have room. What was asked while it changed is asked
        again."""
        cdef list found = []
        cdef Py_ssize_t index
        cdef uint64_t changes
        cdef uint8_t* barred = NULL
        if isinstance(exclude, (str, bytes)):
            exclude = (exclude,)
        for _ in range(CHANGES_LIMIT):
            free(barred)
            barred = <uint8_t*>calloc(self.count + 1, 1)
            if barred == NULL:
                raise MemoryError
            if self.limiter is not None:
                for index in range(self.count):
                    barred[index] = self.limits[index] and atomic_load_u64(&self.loads[index].in_flight) + cost > self.limits[index]
            changes = self.changes
            found.clear()
            try:
                while len(found) < wanted:
                    index = self.choose(key, barred)
                    if index < 0:
                        break
                    barred[index] = 1
                    server = self.names[index]
                    if server not in exclude and (accept is None or accept(server)):
                        found.append(index)
                    if self.attention:                 # others came in between
                        self.attend()
                    if self.changes != changes:
                        break
            except:
                free(barred)
                raise
            if self.changes == changes:
                free(barred)
                return found
        free(barred)
        raise RuntimeError(f"the selector changed {CHANGES_LIMIT} times while it asked `accept`")

    def pick_many(self, wanted, out=None):
        """Many picks at once, without the GIL: indexes into `servers`, as 32-bit numbers.

        wanted  how many; for selectors that choose by a key: the keys, or a buffer of hashes of 64 bits each (`hash_of`).
        out     a writable buffer of 32-bit unsigned numbers, at least as many; None makes an `array.array`.
        Returns the buffer. Raises NoServerError when nobody may be picked.
        """
        global fill_buffer
        if fill_buffer is None:
            from lbcore.selection.buffers import fill_buffer
        return fill_buffer(self, wanted, out)

    cdef int fill(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) except -1:
        """`choose_many` without the GIL; signals are looked at now and then."""
        cdef Py_ssize_t done = 0, size
        cdef int failed
        while done < n:
            size = min(n - done, <Py_ssize_t>BLOCK)
            self.enter()
            try:
                with nogil:
                    if self.n_full:
                        failed = self.choose_roomy(<const uint64_t*>NULL if keys == NULL else keys + done, out + done, size)
                    else:
                        failed = self.choose_many(<const uint64_t*>NULL if keys == NULL else keys + done, out + done, size)
            finally:
                self.leave()
            if failed:
                raise self.no_server()
            done += size
            PyErr_CheckSignals()
        return 0

    @cython.critical_section
    cdef int enter(self) except -1:
        """From now on `choose` may be called without the GIL, by one thread at a time if it is stateful, until `leave`."""
        while self.attention or self.waiting:
            if self.waiting:
                with nogil:
                    usleep(WAIT_US)
            else:
                self.attend()
        self.at_work += 1
        self.attention = self.stateful
        return 0

    @cython.critical_section
    cdef int leave(self) except -1:
        self.at_work -= 1
        self.attention = self.stale or (self.stateful and self.at_work)
        return 0

    cdef object no_server(self):
        from lbcore.errors import NoServerError  # only now: it loads more than everything else here

        if self.count == 0:
            return NoServerError("there are no servers")
        if self.n_full:
            return NoServerError(f"none of {self.count} servers may be picked: {self.n_full} have as much in flight as they may")
        return NoServerError(f"none of {self.count} servers may be picked")

    # Leases

    def lease(self, key=None, *, accept=None, exclude=NOBODY, cost: int = 1):
        """Pick a server and count a request to it as in flight until the lease ends: `with lb.lease() as server:`.

        cost  what the request counts as, 1 to 2**30: its tokens, its bytes, its share of a batch.
        The block's time is the request's latency, an exception in it a failure. Raises what `pick` does.
        """
        global Lease
        if Lease is None:
            from lbcore.selection.lease import Lease
        return Lease(self, key, accept, exclude, cost)

    async def acquire(self, key=None, *, accept=None, exclude=NOBODY, cost: int = 1, timeout: float | None = None):
        """`lease`, once there is room, where an InFlightLimit bounds what is in flight: `async with await lb.acquire() as server:`.

        timeout  seconds to wait at most; None = as long as it takes.
        First come, first served: see InFlightLimit. Raises NoServerError where waiting is in vain, or too many wait, and
        TimeoutError when the time is over. A cancelled task leaves nothing behind.
        """
        if self.limiter is None:
            return self.lease(key, accept=accept, exclude=exclude, cost=cost)
        return await self.limiter._wait(self, key, accept, exclude, cost, timeout)

    def acquire_blocking(self, key=None, *, accept=None, exclude=NOBODY, cost: int = 1, timeout: float | None = None):
        """`acquire` for threads: blocks the calling one. Not for the thread of an event loop."""
        if self.limiter is None:
            return self.lease(key, accept=accept, exclude=exclude, cost=cost)
        return self.limiter._wait_blocking(self, key, accept, exclude, cost, timeout)

    cdef int occupy(self, Py_ssize_t index, uint64_t cost) except -1:
        """Count a request as in flight."""
        cdef uint64_t now = atomic_add_u64(&self.loads[index].in_flight, cost) + cost
        atomic_add_u64(&self.in_flight_total, cost)
        self.picks[index] += 1
        if self.limits[index] and now >= self.limits[index] and not self.full[index]:
            self.full[index] = 1
            self.n_full += 1
        return 0

    cdef int vacate(self, Py_ssize_t index, uint64_t cost) except -1:
        """Count a request no longer."""
        cdef uint64_t now = atomic_add_u64(&self.loads[index].in_flight, <uint64_t>0 - cost) - cost
        atomic_add_u64(&self.in_flight_total, <uint64_t>0 - cost)
        if self.full[index] and now < self.limits[index]:
            self.full[index] = 0
            self.n_full -= 1
        return 0

    cdef int weigh_full(self) except -1:
        """Work out `full` from `limits`."""
        cdef Py_ssize_t i
        self.n_full = 0
        for i in range(self.count):
            self.full[i] = self.limits[i] != 0 and atomic_load_u64(&self.loads[i].in_flight) >= self.limits[i]
            self.n_full += self.full[i]
        return 0

    @cython.critical_section
    def report(self, server, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """Tell how a request went, without a lease. `latency_s`: None = not known. `kind`: see OutlierDetector."""
        cdef Py_ssize_t index = self.find(server)
        self.note_end(index, 0 if latency_s is None else <uint64_t>max(1, int(latency_s * 1e9)), ok, monotonic_ns())

    @cython.critical_section
    def in_flight(self, server) -> int:
        """The sum of the costs of the requests under lease at a server. Raises KeyError."""
        return atomic_load_u64(&self.loads[self.find(server)].in_flight)

    # Changing

    cdef int quiesce(self) except -1:
        """Wait until nobody picks without the GIL, changes or prepares something."""
        self.waiting += 1
        try:
            while self.at_work:
                with nogil:
                    usleep(WAIT_US)
        finally:
            self.waiting -= 1
        return 0

    cdef int attend(self) except -1:
        """Whatever has to be done before the next pick."""
        while True:
            self.quiesce()
            if not self.stale:
                break
            self.at_work += 1
            try:
                self.prepare()
                self.stale = False
            finally:
                self.at_work -= 1
        self.attention = False
        return 0

    cdef int begin_change(self) except -1:
        """Begin a change: until `end_change` nobody else picks or changes anything."""
        self.quiesce()
        self.at_work += 1
        self.attention = True
        return 0

    cdef int end_change(self, bint changed) except -1:
        """The change is through. `open` follows from weights, who is up and the wrappers, the rest before the next pick."""
        cdef Py_ssize_t i
        try:
            if changed:
                self.changes += 1
                self.stale = True
                for i in range(self.count):
                    self.open[i] = self.weights[i] if self.up[i] else 0
                if self.shaper is not None:
                    self.shaper.shape(self)
        finally:
            self.at_work -= 1
            self.attention = self.stale
        if changed and self.limiter is not None:
            self.limiter.freed(self)
        return 0

    @cython.critical_section
    cdef int change(self) except -1:
        """`open` is another one now, or what choosing needs is."""
        self.begin_change()
        return self.end_change(True)

    cdef int make_room(self, Py_ssize_t room) except -1:
        cdef Py_ssize_t i
        cdef void* grown
        cdef void*** arrays = [<void**>&self.weights, <void**>&self.open, <void**>&self.up, <void**>&self.epochs,
                               <void**>&self.loads, <void**>&self.load_at, <void**>&self.picks, <void**>&self.limits,
                               <void**>&self.full]
        cdef size_t* sizes = [sizeof(uint32_t), sizeof(uint32_t), sizeof(uint8_t), sizeof(uint64_t), sizeof(Load),
                              sizeof(Load*), sizeof(uint64_t), sizeof(uint32_t), sizeof(uint8_t)]
        for i in range(9):
            grown = realloc(arrays[i][0], room * sizes[i])
            if grown == NULL:
                raise MemoryError
            arrays[i][0] = grown
        for i in range(room):
            self.load_at[i] = &self.loads[i]
        self.room = room
        return 0

    cdef int append(self, object server, object weight, bint up) except -1:
        cdef uint32_t value = checked_weight(server, weight)
        cdef Py_ssize_t index = self.count
        if server in self.index_of:
            raise ValueError(f"{server!r} is there already")
        if index >= MAX_SERVERS:
            raise ValueError(f"{MAX_SERVERS} servers at most")
        if index == self.room:
            self.make_room(max(2 * self.room, <Py_ssize_t>FIRST_ROOM))
        self.index_of[server] = index
        self.names.append(server)
        self.last_epoch += 1
        self.weights[index] = self.open[index] = value
        self.up[index] = up
        self.epochs[index] = self.last_epoch
        memset(&self.loads[index], 0, sizeof(Load))
        self.picks[index] = self.limits[index] = self.full[index] = 0
        self.count += 1
        self.came(index)
        return 0

    cdef void came(self, Py_ssize_t index) noexcept nogil:
        """A server was added."""

    cdef int drop(self, Py_ssize_t index) except -1:
        """Take a server out of all arrays; `index_of` is for the caller to make anew."""
        cdef Py_ssize_t after = self.count - index - 1
        self.take_out(index)
        atomic_add_u64(&self.in_flight_total, 0 - self.loads[index].in_flight)
        self.n_full -= self.full[index]
        memmove(self.weights + index, self.weights + index + 1, after * sizeof(uint32_t))
        memmove(self.up + index, self.up + index + 1, after)
        memmove(self.epochs + index, self.epochs + index + 1, after * sizeof(uint64_t))
        memmove(self.loads + index, self.loads + index + 1, after * sizeof(Load))
        memmove(self.picks + index, self.picks + index + 1, after * sizeof(uint64_t))
        memmove(self.limits + index, self.limits + index + 1, after * sizeof(uint32_t))
        memmove(self.full + index, self.full + index + 1, after)
        self.count -= 1
        del self.names[index]
        return 0

    cdef Py_ssize_t find(self, object server) except -1:
        """Raises KeyError. Others come in where servers are compared by code of their own: `remove` replaces the index."""
        cdef dict index_of
        while True:
            index_of = self.index_of
            index = index_of[server]
            if index_of is self.index_of:
                return index

    @cython.critical_section
    def add(self, server, weight: int = 1) -> None:
        """Add a server. Raises ValueError when it is there already. The rest keeps its state. O(1), and see `set_weight`."""
        cdef bint done = False
        self.begin_change()
        try:
            self.append(server, weight, True)
            done = True
        finally:
            self.end_change(done)

    @cython.critical_section
    def remove(self, server) -> None:
        """Take a server out. Raises KeyError. The rest keeps its state and order. O(servers)."""
        cdef Py_ssize_t index, i
        cdef bint done = False
        self.begin_change()
        try:
            index = self.find(server)
            index_of = {name: i - (i > index) for i, name in enumerate(self.names) if i != index}
            self.drop(index)
            self.index_of = index_of
            done = True
        finally:
            self.end_change(done)

    @cython.critical_section
    def update(self, servers) -> None:
        """Have these servers and weights from now on, in one change: all of it, or, where a weight is refused, nothing.

        servers  what the constructor takes. Servers that stay keep their state (requests in flight, latency, up or down, waits)
                 and their order; new ones come behind them, in theirs. Where nothing is different nothing changes at all.
        O(servers).
        """
        cdef Py_ssize_t i, kept = 0
        cdef dict wanted = {}, index_of = {}
        cdef list added = []
        cdef bint changed = False
        for server, weight in listed(servers):
            if server in wanted:
                raise ValueError(f"{server!r} is there already")
            self.check(server)
            wanted[server] = checked_weight(server, weight)
        if len(wanted) > MAX_SERVERS:
            raise ValueError(f"{MAX_SERVERS} servers at most")
        self.begin_change()
        try:
            # Whatever runs code of the servers comes first; from then on nothing fails but for want of memory.
            added = [server for server in wanted if server not in self.index_of]
            weights = [wanted.get(name) for name in self.names]
            for i in range(self.count):
                if weights[i] is not None:
                    index_of[self.names[i]] = kept
                    kept += 1
            if kept + len(added) > self.room:
                self.make_room(kept + len(added))
            for i in range(self.count):
                if weights[i] is not None and self.weights[i] != <uint32_t>weights[i]:
                    self.weights[i] = weights[i]
                    changed = True
            if kept < self.count:
                changed = True
                for i in range(self.count - 1, -1, -1):
                    if weights[i] is None:
                        self.drop(i)
                self.index_of = index_of
            for server in added:
                changed = True
                self.append(server, wanted[server], True)
        finally:
            self.end_change(changed)

    cdef int check(self, object server) except -1:
        """Refuse a server that cannot be one here, before anything changes."""
        return 0

    @cython.critical_section
    def set_weight(self, server, weight: int) -> None:
        """Change a weight. Raises KeyError. What choosing needs is worked out before the next pick, once for many changes."""
        cdef Py_ssize_t index
        cdef bint changed = False
        self.begin_change()
        try:
            index = self.find(server)
            value = checked_weight(server, weight)
            changed = self.weights[index] != <uint32_t>value
            self.weights[index] = value
        finally:
            self.end_change(changed)

    @cython.critical_section
    def set_up(self, server, up: bool = True) -> None:
        """Let a server be picked, or not; it keeps its weight and state. Raises KeyError."""
        cdef Py_ssize_t index
        cdef bint changed = False
        self.begin_change()
        try:
            index = self.find(server)
            changed = self.up[index] != <bint>up
            self.up[index] = <bint>up
        finally:
            self.end_change(changed)

    @cython.critical_section
    def is_up(self, server) -> bool:
        """Whether `set_up` lets a server be picked; wrappers may keep it out nevertheless, see `share`. Raises KeyError."""
        return self.up[self.find(server)] != 0

    # The mapping

    def __len__(self) -> int:
        return self.count

    @cython.critical_section
    def __contains__(self, server) -> bool:
        cdef dict held = self.index_of
        return server in held

    @cython.critical_section
    def __getitem__(self, server) -> int:
        return self.weights[self.find(server)]

    @cython.critical_section
    def get(self, server, default=None):
        """The weight of a server, or `default`."""
        try:
            return self.weights[self.find(server)]
        except KeyError:
            return default

    @property
    def servers(self) -> tuple:
        """The servers in the order in which they were added; the indexes of `pick_many` point into it."""
        with cython.critical_section(self):
            return tuple(self.names)

    @cython.critical_section
    def values(self) -> tuple:
        """The weights, in the order of `servers`."""
        return tuple([self.weights[i] for i in range(self.count)])

    @cython.critical_section
    def items(self) -> tuple:
        """Servers and weights, in the order of `servers`."""
        return tuple([(self.names[i], self.weights[i]) for i in range(self.count)])

    def __eq__(self, other) -> bool:
        """Whether it is the same algorithm with the same settings, servers, weights, and the same ones up."""
        if type(self) is not type(other):
            return NotImplemented
        cdef Algorithm them = other
        with cython.critical_section(self, them):
            return self.options() == them.options() and self.seed == them.seed and self.listing() == them.listing()

    __hash__ = None

    def __repr__(self) -> str:
        named = "".join(f", {name}={value!r}" for name, value in self.options().items())
        if self.seed:
            named += f", seed={self.seed}"
        return f"{type(self).__name__}({dict(self.items())!r}{named})"

    # State

    @property
    def algorithm(self) -> str:
        """The name of the class that chooses."""
        return type(self).__name__

    @cython.critical_section
    def share(self, server) -> float:
        """The part of all picks that is meant for a server as things stand, 0 to 1: after health, ramps, ejections. Raises KeyError."""
        cdef Py_ssize_t i, index = self.find(server)
        cdef double total = 0
        for i in range(self.count):
            total += self.open[i]
        return self.open[index] / total if total else 0.0

    @cython.critical_section
    def ramp(self, server) -> int:
        """The percentage of its weight that SlowStart gives a server now; 0 while it may not be picked. Raises KeyError."""
        return 100 if self.open[self.find(server)] else 0

    def stats(self) -> dict:
        """How every server is: `ServerStats` by server. O(servers)."""
        return self.statistics(self)

    @cython.critical_section
    cdef dict statistics(self, Selector outermost):
        """`stats`, as the outermost wrapper sees it."""
        global ServerStats
        cdef Py_ssize_t i
        cdef double total = 0
        cdef dict found = {}
        if ServerStats is None:
            from lbcore.selection.stats import ServerStats
        ejected = outermost.ejected
        for i in range(self.count):
            total += self.open[i]
        for i in range(self.count):
            server = self.names[i]
            if not self.up[i]:
                state = "down"
            elif self.weights[i] == 0:
                state = "drained"
            elif self.open[i] == 0:
                state = "ejected" if server in ejected else "standby"
            elif self.full[i]:
                state = "full"
            else:
                state = "starting" if outermost.ramp(server) < 100 else "up"
            found[server] = ServerStats(
                self.weights[i], self.open[i] / total if total else 0.0, self.picks[i], atomic_load_u64(&self.loads[i].in_flight),
                self.limits[i] or None, outermost.latency_s(server), state)
        return found

    cdef list listing(self):
        """`[server, weight, up]` of each server, in order."""
        return [[self.names[i], self.weights[i], self.up[i] != 0] for i in range(self.count)]

    @cython.critical_section
    def state(self) -> dict:
        """Everything but requests in flight, in types that JSON has as long as the servers are; for `restore`."""
        if self.attention:
            self.attend()
        return {
            "version": STATE_VERSION, "algorithm": self.algorithm, "options": self.options(),
            "seed": self.seed, "random": self.random, "servers": self.listing(),
            **self.extra_state(),
        }

    @cython.critical_section
    def restore(self, state: dict) -> None:
        """Take over what `state` of such a selector gave; picks go on as they would have there.

        Raises ValueError for the state of another algorithm, or of one with other options.
        """
        mine = {"version": STATE_VERSION, "algorithm": self.algorithm, "options": self.options()}
        for name, value in mine.items():
            if state.get(name) != value:
                raise ValueError(f"the state of a selector with {name} {state.get(name)!r}: this one has {value!r}")
        for server, weight, _ in state["servers"]:
            checked_weight(server, weight)
        self.begin_change()
        try:
            self.seed = state["seed"]
            self.random = state["random"]
            self.names = []
            self.index_of = {}
            self.count = self.in_flight_total = self.n_full = 0
            for server, weight, up in state["servers"]:
                self.append(server, weight, up)
        finally:
            self.end_change(True)
        self.attend()
        self.random = state["random"]
        self.restore_extra(state)

    def __reduce__(self):
        return restored, (type(self), self.options(), self.state())

    def __copy__(self):
        """A selector like this one, which goes on where it is."""
        return restored(type(self), self.options(), self.state())


def restored(kind: type, options: dict, state: dict):
    """A selector made from its state, for pickle and copy."""
    selector = kind((), **options)
    selector.restore(state)
    return selector
