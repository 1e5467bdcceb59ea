"""Ring hashing, ketama: every server has many points on a ring, and a key belongs to the server of the next point. No I/O.

lbcore's own ring: point j of a server is the upper half of mix64(id + (j + 1) * 0x9E3779B97F4A7C15), the place of a key that of
mix64 of its hash. Source: Karger and others, Consistent hashing and random trees, 1997; many points per server: libketama, 2007.

compatible="nginx": `hash ... consistent`, ngx_http_upstream_hash_module.c. With base = crc32(HOST "\\0" PORT), point j is base
continued with point j-1 (0 before the first) as four bytes, the lowest first; 160 for each unit of weight; a key's place is
its crc32. Vector: 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80 have 480 points, first 3751338 of .1, 15858338 of .2, 21967852
of .1; the keys k0 to k11 belong to servers 3 2 3 2 2 3 3 3 3 2 1 3.

compatible="uhashring": `HashRing(nodes, hash_fn="ketama")` of uhashring 2.5, which is libketama's: vnodes * servers * weight //
weights times four points, the four words of the MD5 of NAME-i; a key belongs to the first point above its own first word.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from posix.strings cimport strncasecmp

from lbcore.selection.bound cimport Bound, admitted
from lbcore.selection.hashing cimport hash_crc32
from lbcore.selection.keyed cimport Keyed
from lbcore.selection.md5 cimport md5
from lbcore.selection.mix cimport mix64
from lbcore.selection.ring cimport Point, ring_find, ring_free, ring_index, ring_sort

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    MOST_POINTS = 1 << 24      # 128 MiB
    WALK = 1 << 16             # points examined before servers are ranked
    JUMPS = 64                 # places tried before walking
    NGINX_POINTS = 160

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15
cdef dict KINDS = {None: RING_OWN, "nginx": RING_NGINX, "uhashring": RING_UHASHRING}
cdef dict VNODES = {RING_OWN: 160, RING_NGINX: NGINX_POINTS, RING_UHASHRING: 40}


cdef uint32_t nginx_points(const char* name, Py_ssize_t length, Py_ssize_t n, uint32_t index, Point* points) noexcept nogil:
    """nginx's first `n` points of a server by its name: HOST:PORT, HOST, or unix:PATH. Returns the last one."""
    cdef Py_ssize_t host = length, i
    cdef uint32_t base, point = 0
    cdef uint8_t[4] before
    cdef const char* separator = b"\0"
    if length >= 5 and strncasecmp(name, b"unix:", 5) == 0:
        name += 5
        host = length = length - 5
    else:
        i = length - 1
        while i >= 0 and c"0" <= name[i] <= c"9":
            i -= 1
        if i >= 0 and name[i] == c":":
            host = i
    base = hash_crc32(<const uint8_t*>name, host, 0)
    base = hash_crc32(<const uint8_t*>separator, 1, base)
    if host < length:
        base = hash_crc32(<const uint8_t*>name + host + 1, length - host - 1, base)
    for i in range(n):
        before[0], before[1] = point & 0xFF, (point >> 8) & 0xFF
        before[2], before[3] = (point >> 16) & 0xFF, point >> 24
        point = hash_crc32(before, 4, base)
        points[i].hash = point
        points[i].index = index
    return point


@cython.final
cdef class Ketama(Keyed):
    """Ketama(servers=(), *, seed=0, vnodes=None, compatible=None, hash="mix64", bounded_load=None, overflow="walk")\n--\n\nRing hashing. The next point is found in O(1) expected, O(log points) at worst, through an index by upper bits.

    A server that is removed or closes loses its keys and no other key moves; a server that is added or gains weight gets points,
    and only the keys before these. (With compatible="uhashring" other keys move too, because there the number of a server's points
    depends on all servers.) Shares are near the weights: with 160 points within 8 % (one standard deviation). With nginx's and
    lbcore's own points the order of servers decides nothing. A change of servers or weights is O(points) before the next pick;
    closing and opening copies the points. Memory: 12 bytes per point, 24 while a server is closed.

    vnodes        points for each unit of weight (160). If that makes more than 16,777,216 in all, each server gets half of its
                  points, a quarter, and so on, but at least one.
    compatible    None; "nginx": the ring of nginx, with servers named as in its configuration (HOST:PORT) and 160 vnodes;
                  "uhashring": the ring of uhashring, whose vnodes default to 40. Both hash keys as the original does, integers as
                  their decimal digits, and bytes as they are (uhashring itself hashes their `repr`). With more than 16,777,216
                  points a pick raises ValueError.
    hash          of keys and names, one of `HASHES`; not to be set with `compatible`, which decides it.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    overflow      where a key of a full server goes. "walk": to the next point whose server has room, as in the paper;
                  "jump": to other places of the ring, drawn by the key, so that a full server does not fill its neighbour.
    """

    def __init__(self, servers=(), *, seed: int = 0, vnodes: int | None = None, compatible: str | None = None,
                 hash: str = "mix64", bounded_load: float | None = None, overflow: str = "walk"):
        if compatible not in KINDS:
            raise ValueError(f"no ring is compatible with {compatible!r}: None, 'nginx' or 'uhashring'")
        if compatible is not None and (seed or hash != "mix64"):
            raise ValueError(f"a ring compatible with {compatible} has no seed and no hash to choose")
        if overflow not in ("walk", "jump"):
            raise ValueError(f"overflow is 'walk' or 'jump', not {overflow!r}")
        self.ring_kind = KINDS[compatible]
        if vnodes is None:
            vnodes = VNODES[self.ring_kind]
        if isinstance(vnodes, bool) or not isinstance(vnodes, int):
            raise TypeError(f"vnodes has to be an int, not {vnodes!r}")
        if not 1 <= vnodes <= 65536 or (self.ring_kind == RING_NGINX and vnodes != NGINX_POINTS):
            raise ValueError("nginx's ring has 160 vnodes" if self.ring_kind == RING_NGINX
                             else f"vnodes has to be between 1 and 65536, not {vnodes}")
        self.vnodes = vnodes
        self.jumps = overflow == "jump"
        self.setting(hash, bounded_load)
        if self.ring_kind != RING_OWN:
            self.plain_keys = False
        self.setup(servers, seed)

    def __dealloc__(self):
        self.release()
        ring_free(&self.all_points)

    cdef void release(self) noexcept nogil:
        """Free `live`, unless it borrows its points."""
        if self.live.points == self.all_points.points:
            self.live.points = NULL
        ring_free(&self.live)

    cdef dict options(self):
        found = Keyed.options(self)
        found["vnodes"] = self.vnodes
        if self.ring_kind:
            found["compatible"] = "nginx" if self.ring_kind == RING_NGINX else "uhashring"
        if self.jumps:
            found["overflow"] = "jump"
        return found

    cdef int key_hash(self, object key, uint64_t* found) except -1:
        cdef uint32_t[4] digest
        cdef const char* data
        cdef Py_ssize_t length
        if self.ring_kind == RING_OWN:
            return Keyed.key_hash(self, key, found)
        if not isinstance(key, (str, bytes, int)):
            raise TypeError(f"a key is a str, bytes or int, not {type(key).__name__}")
        if isinstance(key, bytes):
            data, length = PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)
        else:
            if not isinstance(key, str):
                key = str(key)
            data = PyUnicode_AsUTF8AndSize(key, &length)
        if self.ring_kind == RING_NGINX:
            found[0] = hash_crc32(<const uint8_t*>data, length, 0)
        else:
            md5(<const uint8_t*>data, length, digest)
            found[0] = digest[0]
        return 0

    cdef uint32_t place(self, uint64_t key) noexcept nogil:
        """The place of a key on the ring: it belongs to the first point at this place or after it."""
        if self.ring_kind == RING_OWN:
            return <uint32_t>(mix64(key) >> 32)
        return <uint32_t>key + (self.ring_kind == RING_UHASHRING)

    cdef Py_ssize_t points_of(self, uint64_t weight, uint64_t total, int halvings) noexcept nogil:
        """The number of points of a server. `halvings`: how often the numbers are halved to stay below MOST_POINTS."""
        if weight == 0:
            return 0
        if self.ring_kind == RING_UHASHRING:
            return <Py_ssize_t>(self.vnodes * <uint64_t>self.count * weight // total) * 4
        return max(<Py_ssize_t>1, <Py_ssize_t>((self.vnodes * weight) >> halvings))

    cdef Py_ssize_t put_points(self, Py_ssize_t index, Py_ssize_t n, Point* points) except -1:
        cdef Py_ssize_t i, k
        cdef uint32_t[4] digest
        cdef bytes text
        if self.ring_kind == RING_OWN:
            for i in range(n):
                points[i].hash = <uint32_t>(mix64(self.ids[index] + <uint64_t>(i + 1) * GOLDEN) >> 32)
                points[i].index = <uint32_t>index
            return 0
        name = self.names[index]
        if self.ring_kind == RING_NGINX:
            text = name if isinstance(name, bytes) else str(name).encode()
            nginx_points(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), n, <uint32_t>index, points)
            return 0
        for i in range(n // 4):
            text = f"{name}-{i}".encode()
            md5(<const uint8_t*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), digest)
            for k in range(4):
                points[4 * i + k].hash = digest[k]
                points[4 * i + k].index = <uint32_t>index
        return 0

    cdef Py_ssize_t only_one_each(self, Point* points, Py_ssize_t count) noexcept nogil:
        """Of points with the same hash keep one: the first as nginx, or the last as uhashring. Returns the number of points left."""
        cdef Py_ssize_t i, kept = 0
        for i in range(count):
            if kept and points[kept - 1].hash == points[i].hash:
                if self.ring_kind == RING_UHASHRING:
                    points[kept - 1] = points[i]
            else:
                points[kept] = points[i]
                kept += 1
        return kept

    cdef int build(self) except -1:
        cdef Py_ssize_t i, n, count = 0
        cdef uint64_t total = 0
        cdef int halvings = 0
        cdef Point* points
        for i in range(self.count):
            total += self.weights[i]
        while True:
            count = 0
            for i in range(self.count):
                count += self.points_of(self.weights[i], total, halvings)
            if count <= MOST_POINTS or (halvings and count <= self.count):
                break
            if self.ring_kind:
                raise ValueError(f"the ring would have {count} points: {MOST_POINTS} at most")
            halvings += 1
        points = <Point*>malloc((count + 1) * sizeof(Point))
        if points == NULL:
            raise MemoryError
        try:
            order = list(range(self.count))
            if self.ring_kind == RING_OWN:  # the order of points with the same hash follows from names, not from positions
                order.sort(key=lambda index: self.ids[<Py_ssize_t>index])
            count = 0
            for index in order:
                i = index
                n = self.points_of(self.weights[i], total, halvings)
                self.put_points(i, n, points + count)
                count += n
            ring_sort(points, count)
        except BaseException:
            free(points)
            raise
        self.release()
        ring_free(&self.all_points)
        self.all_points.points = points
        self.all_points.count = self.only_one_each(points, count) if self.ring_kind else count
        return 0

    cdef int resolve(self) except -1:
        cdef Py_ssize_t i, count = 0
        cdef Point* points
        self.release()
        if self.all_open:
            self.live.points = self.all_points.points
            self.live.count = self.all_points.count
        else:
            for i in range(self.all_points.count):
                count += self.open[self.all_points.points[i].index] != 0
            points = <Point*>malloc((count + 1) * sizeof(Point))
            if points == NULL:
                raise MemoryError
            self.live.points = points
            self.live.count = 0
            for i in range(self.all_points.count):
                if self.open[self.all_points.points[i].index]:
                    points[self.live.count] = self.all_points.points[i]
                    self.live.count += 1
        return ring_index(&self.live)

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        if barred != NULL or self.factor or self.live.count == 0:
            return Keyed.choose(self, key, barred)
        return self.live.points[ring_find(&self.live, self.place(key))].index

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.choose(keys[i], NULL)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0

    cdef Py_ssize_t seek(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil:
        cdef Py_ssize_t at, i, index
        cdef uint64_t other = key
        if self.live.count == 0:  # with uhashring, a server of little weight has no point
            return -1 if self.ring_kind else self.rank(key, barred, bound)
        at = ring_find(&self.live, self.place(key))
        if self.jumps and bound != NULL:
            for i in range(JUMPS):
                index = self.live.points[at].index
                if admitted(index, barred, bound):
                    return index
                other = mix64(other + GOLDEN)
                at = ring_find(&self.live, <uint32_t>(other >> 32))
        for i in range(min(self.live.count, <Py_ssize_t>WALK)):
            index = self.live.points[at].index
            if admitted(index, barred, bound):
                return index
            at += 1
            if at == self.live.count:
                at = 0
        # The ring is long, or the servers that may be picked have no point in it.
        return self.rank(key, barred, bound)

    @cython.critical_section
    def points(self) -> list:
        """All points, as pairs of hash and server, in order."""
        if self.attention:
            self.attend()
        return [(self.all_points.points[i].hash, self.names[self.all_points.points[i].index])
                for i in range(self.all_points.count)]
