"""What every algorithm is: servers with weights, and a way to choose one of them. No I/O.

Every method is atomic: under the GIL, or in a free-threaded interpreter under the selector's critical section. `pick_many` runs
without either: other threads can pick at the same time if the algorithm is stateless, and wait if it is stateful. Changes always wait.

The GIL and the critical section can both be released in the middle of a method, when a server's own `__hash__` or `__eq__` runs
or when building a table releases the GIL. A change, and `prepare`, therefore count themselves in `at_work`; until they have
finished, changes and picks of other threads wait. A server's `__hash__`, `__eq__` and `__str__` must not use the selector.
"""

from _collections_abc import Mapping                   # `collections.abc` is the same, but importing it costs more than this module

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset
from posix.unistd cimport usleep

from lbcore.selection.abi cimport SELECTION_ABI
from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.flag cimport checked_flag
from lbcore.selection.hashing cimport HASH_MIX64, hash_key, hash_text
from lbcore.selection.load cimport Load
from lbcore.selection.rng cimport random_seeded
from lbcore.selection.selector cimport Selector
from lbcore.selection.weight cimport checked_weight

cdef enum:
    MAX_SERVERS = 1 << 24
    FIRST_ROOM = 8
    BLOCK = 1 << 20            # picks between two checks for signals
    WAIT_US = 20               # between two checks whether other threads have finished

STATE_VERSION = 1
ABI = SELECTION_ABI
CHANGES_LIMIT = 1000           # times a pick starts again because `accept`, or another thread, changed the selector
MAX_COST = 1 << 30
cdef tuple NO_SERVERS = ()     # the default of `exclude`; compared by identity
cdef object Lease = None, fill_buffer = None, ServerStats = None   # imported at first use: their modules import this one


cdef list listed(object servers):
    """`[(server, weight)]` from the argument of a constructor or of `update`. Raises TypeError if it is neither servers nor pairs."""
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
    """The cost of a request as a number, 1 to MAX_COST. Raises TypeError or ValueError."""
    if isinstance(cost, bool) or not isinstance(cost, int):
        raise TypeError(f"the cost of a request has to be an int, not {cost!r}")
    if not 1 <= cost <= MAX_COST:
        raise ValueError(f"the cost of a request has to be between 1 and {MAX_COST}, not {cost}")
    return cost


cdef class Shaper(Selector):
    """The interface by which wrappers change what an algorithm may pick."""

    cdef int shape(self, Algorithm selector) except -1:
        """Change `selector.open`, which was just derived from weights and `set_up`. Called at the end of each change; no pick runs."""
        return 0

    cdef int freed(self, Algorithm selector) except -1:
        """A request at a server has ended, or a change has finished. Called on `Algorithm.limiter` only."""
        return 0

    cdef int lease_over(self, object server, object note, bint ok, str kind) except -1:
        """A request under a lease that this wrapper watches has ended. `note`: the argument of `Lease.watch`."""
        return 0


cdef class Algorithm(Selector):
    """Algorithm(servers=(), *, seed=0)\n--\n\nServers with weights, and a way to choose one of them: the base class of all algorithms.

    servers  a mapping from servers to weights (int, 0 to 2**30); or a list, of servers of weight 1, or of pairs (server, weight).
             A server of weight 0 is never picked. In a list, a tuple of an object and a number is such a pair; servers that are
             tuples themselves, as (host, port), need a mapping. For fractions as weights see `scaled`.
    seed     an int; decides random choices, and where a sequence begins. The same seed and the same calls give the same picks in
             every process and on every platform.
    """

    # Subclasses repeat this constructor even where they add no option: tools look for a signature in the class itself.
    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)

    cdef int setup(self, object servers, object seed) except -1:
        """Take over the servers. Constructors of subclasses call it after they have stored their own options."""
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
        """Build from `open` what `choose` needs. Called before the first pick and after changes; no pick runs meanwhile."""
        return 0

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        """The index of a server of which `open` is not 0, or -1. `barred`: by index, not 0 = may not be chosen; NULL = none is barred.

        Takes bounded time and allocates nothing. Algorithms that choose by a key return the first choice that is not barred.
        """
        return -1

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        """`choose` n times, for these keys or, when NULL, without keys. Returns -1 when no server may be picked."""
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.choose(0 if keys == NULL else keys[i], NULL)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0

    cdef int choose_roomy(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        """`choose_many` among the servers that are not full."""
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.choose(0 if keys == NULL else keys[i], self.full)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0

    cdef int key_hash(self, object key, uint64_t* found) except -1:
        """The hash by which `choose` looks up a key. Raises TypeError or OverflowError."""
        return hash_key(key, self.hash, self.seed, found)

    cdef void note_end(self, Py_ssize_t index, uint64_t latency_ns, bint ok, uint64_t now_ns) noexcept nogil:
        """A request to a server has ended. It is no longer counted in its load."""

    cdef int take_out(self, Py_ssize_t index) except -1:
        """A server is being removed; the indexes of all servers behind it decrease by one."""
        return 0

    cdef dict options(self):
        """The keyword arguments, besides `seed`, with which this selector was constructed."""
        return {}

    cdef dict extra_state(self):
        """What `state` holds besides servers, weights and `set_up`."""
        return {}

    cdef int restore_extra(self, dict state) except -1:
        """Take over what `extra_state` returned. Called after `prepare`."""
        return 0

    # Picking

    @cython.critical_section
    def pick(self, key=None, *, accept=None, exclude=NO_SERVERS):
        """The server for the next request.

        key      str, bytes or int (64 bits); for selectors that choose by a key: the same key, the same server.
        accept   a function; servers for which it is false are passed over.
        exclude  servers that are passed over, in any container; a str or bytes is one server.
        Raises NoServerError when no server may be picked, TypeError when a key is needed and there is none.
        Cost: see the class of the algorithm; with `accept` or `exclude` O(servers).
        """
        cdef uint64_t hash = 0
        cdef Py_ssize_t index
        if self.attention or self.n_full or accept is not None or exclude is not NO_SERVERS:
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
        """The index of a server that has room for a request of this cost. Raises NoServerError."""
        cdef uint64_t hash = 0
        cdef Py_ssize_t index
        if self.attention:
            self.attend()
        if self.keyed:
            self.key_hash(key, &hash)
        if accept is None and exclude is NO_SERVERS and (cost == 1 or self.limiter is None):
            index = self.choose(hash, self.full if self.n_full else NULL)
        else:
            found = self.choose_n(hash, 1, accept, exclude, cost)
            index = found[0] if found else -1
        if index < 0:
            raise self.no_server()
        return index

    @cython.critical_section
    def pick_n(self, key=None, n: int = 1, *, accept=None, exclude=NO_SERVERS) -> list:
        """`n` different servers for a key: the first choice, then the servers that take over, in order. Fewer if there are fewer."""
        cdef uint64_t hash = 0
        if self.attention:
            self.attend()
        if self.keyed:
            self.key_hash(key, &hash)
        return [self.names[<Py_ssize_t>index] for index in self.choose_n(hash, n, accept, exclude, 1)]

    cdef list choose_n(self, uint64_t key, Py_ssize_t wanted, object accept, object exclude, uint64_t cost):
        """The indexes of up to `wanted` different servers that are accepted, not excluded and have room.

        Starts again when the selector changes meanwhile; raises RuntimeError after CHANGES_LIMIT changes.
        """
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
                    if self.attention:                 # `accept`, or another thread, has changed the selector
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
        Returns the buffer. Raises NoServerError when no server may be picked.
        """
        global fill_buffer
        if fill_buffer is None:
            from lbcore.selection.buffers import fill_buffer
        return fill_buffer(self, wanted, out)

    cdef int fill(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) except -1:
        """`choose_many` without the GIL, in blocks; signals are checked after each block."""
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
        """Until `leave`, `choose` may be called without the GIL: by one thread at a time if the algorithm is stateful, else by any."""
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
        from lbcore.errors import NoServerError  # here, because importing it costs more than this whole module

        if self.count == 0:
            return NoServerError("there are no servers")
        if self.n_full:
            return NoServerError(f"none of {self.count} servers may be picked: {self.n_full} have as much in flight as they may")
        return NoServerError(f"none of {self.count} servers may be picked")

    # Leases

    def lease(self, key=None, *, accept=None, exclude=NO_SERVERS, cost: int = 1):
        """Pick a server and count a request to it as in flight until the lease ends: `with lb.lease() as server:`.

        cost  the weight of the request, 1 to 2**30: its tokens, its bytes, its share of a batch.
        The duration of the block is the request's latency; an exception in the block is a failure. Raises what `pick` raises.
        """
        global Lease
        if Lease is None:
            from lbcore.selection.lease import Lease
        return Lease(self, key, accept, exclude, cost)

    async def acquire(self, key=None, *, accept=None, exclude=NO_SERVERS, cost: int = 1, timeout: float | None = None):
        """`lease`, waiting for room if an InFlightLimit bounds what is in flight: `async with await lb.acquire() as server:`.

        timeout  seconds to wait at most; None = as long as it takes.
        Requests are served in the order of arrival, see InFlightLimit. Raises NoServerError when no server could ever take the
        request or when too many requests wait, and TimeoutError after `timeout`. A cancelled task gives up its place.
        """
        if self.limiter is None:
            return self.lease(key, accept=accept, exclude=exclude, cost=cost)
        return await self.limiter._wait(self, key, accept, exclude, cost, timeout)

    def acquire_blocking(self, key=None, *, accept=None, exclude=NO_SERVERS, cost: int = 1, timeout: float | None = None):
        """`acquire` for threads: blocks the calling thread. Not to be called from the thread of an event loop."""
        if self.limiter is None:
            return self.lease(key, accept=accept, exclude=exclude, cost=cost)
        return self.limiter._wait_blocking(self, key, accept, exclude, cost, timeout)

    cdef int occupy(self, Py_ssize_t index, uint64_t cost) except -1:
        """Count a request at a server as in flight, and its pick."""
        cdef uint64_t now = atomic_add_u64(&self.loads[index].in_flight, cost) + cost
        atomic_add_u64(&self.in_flight_total, cost)
        self.picks[index] += 1
        if self.limits[index] and now >= self.limits[index] and not self.full[index]:
            self.full[index] = 1
            self.n_full += 1
        return 0

    cdef int vacate(self, Py_ssize_t index, uint64_t cost) except -1:
        """Subtract a request that has ended from what is in flight at its server."""
        cdef uint64_t now = atomic_add_u64(&self.loads[index].in_flight, <uint64_t>0 - cost) - cost
        atomic_add_u64(&self.in_flight_total, <uint64_t>0 - cost)
        if self.full[index] and now < self.limits[index]:
            self.full[index] = 0
            self.n_full -= 1
        return 0

    cdef int weigh_full(self) except -1:
        """Derive `full` and `n_full` from `limits` and the loads."""
        cdef Py_ssize_t i
        self.n_full = 0
        for i in range(self.count):
            self.full[i] = self.limits[i] != 0 and atomic_load_u64(&self.loads[i].in_flight) >= self.limits[i]
            self.n_full += self.full[i]
        return 0

    @cython.critical_section
    def report(self, server, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """Report the outcome of a request that had no lease. `latency_s`: None = not known. `kind`: see OutlierDetector."""
        cdef Py_ssize_t index = self.find(server)
        checked_flag("ok", ok)
        self.note_end(index, 0 if latency_s is None else <uint64_t>max(1, int(latency_s * 1e9)), ok, monotonic_ns())

    @cython.critical_section
    def in_flight(self, server) -> int:
        """The sum of the costs of the requests under lease at a server. Raises KeyError."""
        return atomic_load_u64(&self.loads[self.find(server)].in_flight)

    # Changing

    cdef int quiesce(self) except -1:
        """Wait until no other thread picks without the GIL, changes the selector or prepares it."""
        self.waiting += 1
        try:
            while self.at_work:
                with nogil:
                    usleep(WAIT_US)
        finally:
            self.waiting -= 1
        return 0

    cdef int attend(self) except -1:
        """Do what the next pick requires: wait for other threads, and `prepare` after a change."""
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
        """Begin a change: until `end_change`, no other thread picks or changes anything."""
        self.quiesce()
        self.at_work += 1
        self.attention = True
        return 0

    cdef int end_change(self, bint changed) except -1:
        """End a change: derive `open` from weights, `set_up` and the wrappers. The next pick prepares the rest."""
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
        """Derive `open` anew, because a wrapper has changed its mind."""
        self.begin_change()
        return self.end_change(True)

    cdef int make_room(self, Py_ssize_t room) except -1:
        """Reallocate the arrays for `room` servers. Raises MemoryError."""
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
        """Add a server behind all others, within a change. Raises TypeError or ValueError."""
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
        """A server was added at this index."""

    cdef int drop(self, Py_ssize_t index) except -1:
        """Remove a server from all arrays, within a change. The caller replaces `index_of`."""
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
        """The index of a server. Raises KeyError.

        The lookup runs the server's `__eq__`, during which another thread may remove servers and so replace `index_of`: look again.
        """
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
        """Remove a server. Raises KeyError. The rest keeps its state and order. O(servers)."""
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
        """Replace the servers and weights in one change; if a weight is invalid, nothing changes.

        servers  as for the constructor. Servers that stay keep their state (requests in flight, latency, up or down, waits) and
                 their order; new servers follow behind them, in the given order. An update without a difference changes nothing.
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
            # Code of the servers (`__hash__`, `__eq__`) runs before anything changes; after that only a lack of memory can fail.
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
        """Raise for an object that this algorithm cannot have as a server, before anything changes."""
        return 0

    @cython.critical_section
    def set_weight(self, server, weight: int) -> None:
        """Change a weight. Raises KeyError. Tables are rebuilt before the next pick, once for any number of changes."""
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
        """Allow or forbid picks of a server; it keeps its weight and state. Raises KeyError."""
        cdef Py_ssize_t index
        cdef bint changed = False, value = checked_flag("up", up)
        self.begin_change()
        try:
            index = self.find(server)
            changed = self.up[index] != value
            self.up[index] = value
        finally:
            self.end_change(changed)

    @cython.critical_section
    def is_up(self, server) -> bool:
        """Whether `set_up` allows picks of a server; wrappers may exclude it nevertheless, see `share`. Raises KeyError."""
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
        """Whether both are the same algorithm with the same options, servers and weights, and `set_up` allows the same servers."""
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
        """The part of all picks that a server should get now, 0 to 1, after health, ramps and ejections. Raises KeyError."""
        cdef Py_ssize_t i, index = self.find(server)
        cdef double total = 0
        for i in range(self.count):
            total += self.open[i]
        return self.open[index] / total if total else 0.0

    @cython.critical_section
    def ramp(self, server) -> int:
        """The percentage of its weight that SlowStart grants a server now; 0 while it may not be picked. Raises KeyError."""
        return 100 if self.open[self.find(server)] else 0

    def stats(self) -> dict:
        """The `ServerStats` of every server, by server. O(servers)."""
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
        """The state for `restore`, without requests in flight, in types that JSON can express if it can express the servers."""
        if self.attention:
            self.attend()
        return {
            "version": STATE_VERSION, "algorithm": self.algorithm, "options": self.options(),
            "seed": self.seed, "random": self.random, "servers": self.listing(),
            **self.extra_state(),
        }

    @cython.critical_section
    def restore(self, state: dict) -> None:
        """Take over a `state`; picks continue as they would have in the selector it came from.

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
        """A copy with the same state, which continues from there independently."""
        return restored(type(self), self.options(), self.state())


def restored(kind: type, options: dict, state: dict):
    """A selector made from its options and state, for pickle and copy."""
    selector = kind((), **options)
    selector.restore(state)
    return selector
