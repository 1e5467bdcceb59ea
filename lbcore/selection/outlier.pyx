"""Outlier detection: servers that fail more than others are taken out for a while. No I/O, no thread.

What draws attention, as Envoy defines it (outlier detection; gRPC A50):
in a row             so many failures one after the other: of any kind, gateway errors, failures to get an answer.
success rate         in an interval, among the servers that were asked often enough, if these are enough:
                     rate < mean(rates) - factor * stdev(rates), the standard deviation being that of the population.
failure percentage   the same, with a fixed limit instead of one that follows from the others.
An ejection lasts min(base * times, max), `times` being how often it happened, less one for each interval without. Then the server
is as good as any, with the counts it had. At most so many percent of the servers are ejected at once.
Vectors: rates 100, 100, 100, 100, 50: mean 90, deviation 20, the limit with factor 1.9 is 52: the last is ejected.
"""

cimport cython
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport uint64_t

from lbcore.selection.rng cimport random_next, random_seeded
from lbcore.selection.selector cimport Selector
from lbcore.selection.wrapper cimport Wrapper

cdef enum:                     # Series
    ANY, GATEWAY, LOCAL

cdef enum:                     # origin
    ANSWERS, CONNECTIONS

KINDS = ("error", "gateway", "local")
NEXT_TO_NOTHING = ("interval_s", "base_ejection_s", "max_ejection_s")
NUMBERS = {
    "consecutive_failures": 5, "consecutive_gateway": None, "consecutive_local": 5,
    "success_rate_factor": 1.9, "success_rate_hosts": 5, "success_rate_requests": 100,
    "failure_percent": None, "failure_percent_hosts": 5, "failure_percent_requests": 50,
    "interval_s": 10.0, "base_ejection_s": 30.0, "max_ejection_s": 300.0, "jitter_s": 0.0, "max_ejection_percent": 10,
}
MAY_BE_OFF = ("consecutive_failures", "consecutive_gateway", "consecutive_local", "success_rate_factor", "failure_percent")
FLAGS = {"always_eject_one": True, "split_local": False}


def kind_of(error: BaseException) -> str:
    """`local` for what the machine said (refused, reset, timed out), else `error`."""
    return "local" if isinstance(error, (ConnectionError, TimeoutError)) else "error"


cdef class Host:
    pass


@cython.final
cdef class OutlierDetector(Wrapper):
    """Take servers out for a while that fail more than others. Told by leases, or by `report`.

    selector                     a selector, or a wrapper. Ejections are no business of `set_up`: who checks health uses that.
    consecutive_failures         of any kind, one after the other (5).
    consecutive_gateway          gateway errors one after the other: kind `gateway`, or `local` without `split_local` (None: off).
    consecutive_local            times without an answer, one after the other; only with `split_local` (5).
    success_rate_factor          standard deviations below the mean (1.9), among success_rate_hosts (5) with success_rate_requests
                                 (100) in an interval; None: off.
    failure_percent              of an interval's requests (None: off; Envoy's number is 85), with failure_percent_hosts (5) and
                                 failure_percent_requests (50).
    interval_s                   length of an interval (10).
    base_ejection_s, max_ejection_s, jitter_s   30, 300 and 0.
    max_ejection_percent         of the servers (10), but always_eject_one (True) even so.
    split_local                  count failures to get an answer apart from failing answers (False).
    clock                        a function that gives seconds; None = the monotonic clock.
    A report is O(1); an interval's end and an ejection O(servers). A pick costs some ns and a look at the clock more.
    """

    def __init__(self, selector, *, clock=None, seed: int = 0, **settings):
        self.settings = {**NUMBERS, **FLAGS, "seed": seed}
        for name, value in settings.items():
            if name in FLAGS:
                self.settings[name] = bool(value)
                continue
            if name not in NUMBERS:
                raise TypeError(f"no setting is named {name!r}: one of {', '.join([*NUMBERS, *FLAGS])}")
            if value is None and name in MAY_BE_OFF:
                pass
            elif isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} has to be a number, not {value!r}")
            elif not 0 <= value < 1e9 or value == 0 and (name in NEXT_TO_NOTHING or name.startswith("consecutive")):
                raise ValueError(f"{name} is out of range: {value!r}")
            self.settings[name] = value
        found = self.settings
        self.limits = [found["consecutive_failures"], found["consecutive_gateway"], found["consecutive_local"]]
        self.split_local = found["split_local"]
        self.interval_s = found["interval_s"]
        self.random = random_seeded(<uint64_t>(seed & 0xFFFFFFFFFFFFFFFF))
        self.hosts = {}
        self.clock = clock
        self.interval_end_s = self.now() + self.interval_s
        self.wrap(selector, clock)

    cdef Host host(self, object server):
        """What is known of a server. Raises KeyError."""
        cdef Selector base = self.base
        cdef uint64_t epoch = base.epochs[base.find(server)]
        cdef Host host = self.hosts.get(server)
        if host is None or host.epoch != epoch:
            host = Host()
            host.epoch = epoch
            self.hosts[server] = host
        return host

    # Being told

    def report(self, server, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """Tell how a request went.

        kind  of a failure: `error` (an answer that is one, as 500), `gateway` (as 502, 503, 504), `local` (no answer: refused, reset,
              timed out).
        """
        self.selector.report(server, latency_s=latency_s, ok=ok)
        self.told(server, ok=ok, kind=kind)

    def told(self, server, *, ok: bool = True, kind: str = "error") -> None:
        """`report` for the detector alone: where the selector knows by a lease of its own."""
        self.ahead()
        with cython.critical_section(self.base):
            self.note(server, ok, kind)

    cdef int note(self, object server, bint ok, str kind) except -1:
        cdef Host host = self.host(server)
        if ok:
            host.in_a_row[ANY] = host.in_a_row[GATEWAY] = host.in_a_row[LOCAL] = 0
            host.good[ANSWERS] += 1
            host.good[CONNECTIONS] += 1
            return 0
        if kind not in KINDS:
            raise ValueError(f"no kind of failure is named {kind!r}: one of {', '.join(KINDS)}")
        if self.split_local and kind == "local":
            host.bad[CONNECTIONS] += 1
            return self.count(server, host, LOCAL)
        host.bad[ANSWERS] += 1
        if self.split_local:
            host.in_a_row[LOCAL] = 0
            host.good[CONNECTIONS] += 1
        if kind == "error":
            host.in_a_row[GATEWAY] = 0
        else:
            self.count(server, host, GATEWAY)
        return self.count(server, host, ANY)

    cdef int note_lease(self, object server, Host host, bint ok, str kind) except -1:
        """`note`, unless the server was taken out meanwhile, or is another one by now."""
        self.ahead()
        with cython.critical_section(self.base):
            try:
                if host is not None and self.host(server) is host:
                    self.note(server, ok, kind)
            except KeyError:
                pass
        return 0

    cdef int count(self, object server, Host host, int series) except -1:
        host.in_a_row[series] += 1
        limit = self.limits[series]
        if limit is not None and host.in_a_row[series] >= <long>limit:
            host.in_a_row[series] = 0
            if not host.until_s:
                self.take_out(server, host, ("consecutive failures", "consecutive gateway", "consecutive local")[series], self.now())
                self.plan()
        return 0

    def lease(self, key=None, *, accept=None, exclude=()):
        """`Selector.lease`; an exception in its block is a failure whose kind is that of `kind_of`."""
        self.ahead()
        return OutlierLease(self, self.selector.lease(key, accept=accept, exclude=exclude))

    # Ejecting

    cdef int take_out(self, object server, Host host, str reason, double now_s) except -1:
        cdef Host other
        cdef double length_s
        cdef int ejected = 0
        for other in self.hosts.values():
            ejected += other.until_s != 0
        if 100.0 * (ejected + 1) > self.settings["max_ejection_percent"] * self.base.count:
            if ejected or not self.settings["always_eject_one"]:
                return 0
        base_s, max_s = self.settings["base_ejection_s"], self.settings["max_ejection_s"]
        if host.times * <double>base_s < <double>max_s:
            host.times += 1
        length_s = min(base_s * host.times, max(base_s, max_s))
        if self.settings["jitter_s"]:
            length_s += self.settings["jitter_s"] * (random_next(&self.random) >> 11) / 2.0 ** 53
        host.until_s = now_s + length_s
        host.reason = reason
        return self.base.change()

    def eject(self, server, reason: str = "by hand") -> bool:
        """Take a server out for its time, within the limits. Whether it is out now. Raises KeyError."""
        cdef Host host
        with cython.critical_section(self.base):
            host = self.host(server)
            if not host.until_s:
                self.take_out(server, host, reason, self.now())
                self.plan()
            return host.until_s != 0

    def uneject(self, server) -> None:
        """End an ejection, as when an active check has succeeded. Raises KeyError."""
        cdef Host host
        with cython.critical_section(self.base):
            host = self.host(server)
            if host.until_s:
                host.until_s = 0
                self.base.change()
                self.plan()

    @property
    def ejected(self) -> dict:
        """The servers that are out, each with the reason."""
        self.ahead()
        with cython.critical_section(self.base):
            return {server: (<Host>host).reason for server, host in self.hosts.items() if (<Host>host).until_s}

    cdef int reshape(self, Selector selector) except -1:
        cdef Host host
        cdef Py_ssize_t index
        cdef double now_s = self.now()
        if self.pending is not None:
            self.hosts = {}
            self.interval_end_s = now_s + self.pending["interval_left_s"]
            self.random = self.pending["random"]
            for server, in_a_row, good, bad, times, left_s, reason in self.pending["hosts"]:
                host = self.host(server)
                for index in range(3):
                    host.in_a_row[index] = in_a_row[index]
                for index in range(2):
                    host.good[index], host.bad[index] = good[index], bad[index]
                host.times, host.reason = times, reason
                host.until_s = now_s + left_s if left_s else 0
        gone = []
        for server, host in self.hosts.items():
            index = selector.index_of.get(server, -1)
            if index < 0 or selector.epochs[index] != host.epoch:
                gone.append(server)
            elif host.until_s:
                selector.open[index] = 0
        for server in gone:
            del self.hosts[server]
        return self.plan()

    # Time

    cdef int plan(self) except -1:
        """When something is due next."""
        cdef Host host
        self.due_s = self.interval_end_s
        for host in self.hosts.values():
            if host.until_s:
                self.due_s = min(self.due_s, host.until_s)
        return 0

    cdef int step(self, double now_s) except -1:
        cdef Host host
        cdef long intervals
        back = []
        for host in self.hosts.values():
            if host.until_s and now_s >= host.until_s:
                host.until_s = 0
                back.append(host)
        if back:
            self.base.change()
        if now_s >= self.interval_end_s:
            intervals = 1 + <long>((now_s - self.interval_end_s) / self.interval_s)
            for host in self.hosts.values():
                if not host.until_s and host not in back:
                    host.times = max(0, host.times - intervals)
            self.judge(ANSWERS, now_s)
            if self.split_local:
                self.judge(CONNECTIONS, now_s)
            for host in self.hosts.values():
                host.good[ANSWERS] = host.good[CONNECTIONS] = host.bad[ANSWERS] = host.bad[CONNECTIONS] = 0
            self.interval_end_s += intervals * self.interval_s
        return self.plan()

    cdef int judge(self, int origin, double now_s) except -1:
        """Compare the servers at the end of an interval."""
        cdef Host host
        cdef double mean = 0, spread = 0, rate, least
        cdef dict settings = self.settings
        cdef str of = " of connections" if origin == CONNECTIONS else ""
        rates = {"success_rate": [], "failure_percent": []}
        for server, host in self.hosts.items():
            total = host.good[origin] + host.bad[origin]
            for name, found in rates.items():
                if total and total >= settings[name + "_requests"]:
                    found.append((100.0 * host.good[origin] / total, server, host))
        found = rates["success_rate"]
        if settings["success_rate_factor"] is not None and found and len(found) >= settings["success_rate_hosts"]:
            for rate, _, _ in found:
                mean += rate / len(found)
            for rate, _, _ in found:
                spread += (rate - mean) * (rate - mean) / len(found)
            least = mean - <double>settings["success_rate_factor"] * sqrt(spread)
            for rate, server, host in found:
                if rate < least and not host.until_s:
                    self.take_out(server, host, "success rate" + of, now_s)
        found = rates["failure_percent"]
        if settings["failure_percent"] is not None and found and len(found) >= settings["failure_percent_hosts"]:
            for rate, server, host in found:
                if 100 - rate >= <double>settings["failure_percent"] and not host.until_s:
                    self.take_out(server, host, "failure percentage" + of, now_s)
        return 0

    cdef dict options(self):
        return {name: value for name, value in self.settings.items() if value != {**NUMBERS, **FLAGS, "seed": 0}[name]}

    cdef dict own_state(self):
        cdef Host host
        cdef double now_s = self.now()
        return {
            "interval_left_s": self.interval_end_s - now_s,
            "random": self.random,
            "hosts": [[server, list(host.in_a_row), list(host.good), list(host.bad), host.times,
                       max(host.until_s - now_s, 1e-9) if host.until_s else 0, host.reason]
                      for server, host in self.hosts.items()],
        }


@cython.final
cdef class OutlierLease:
    """`Lease`, whose end is told to a detector as well."""

    cdef readonly OutlierDetector selector
    cdef object lease
    cdef Host host                     # of the server that was picked; None = it is gone already
    cdef bint ended

    def __init__(self, OutlierDetector selector, lease):
        self.selector = selector
        self.lease = lease
        with cython.critical_section(selector.base):
            try:
                self.host = selector.host(lease.server)
            except KeyError:
                self.host = None

    @property
    def server(self):
        return self.lease.server

    def __enter__(self):
        return self.lease.server

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self.end()
        elif issubclass(kind, Exception):
            self.end(ok=False, kind=kind_of(error))
        else:
            self.forget()

    async def __aenter__(self):
        return self.lease.server

    async def __aexit__(self, kind, error, traceback) -> None:
        self.__exit__(kind, error, traceback)

    def end(self, *, ok: bool = True, latency_s: float | None = None, kind: str = "error") -> None:
        """`Lease.end`; for `kind` see `OutlierDetector.report`."""
        if self.ended:
            return
        if kind not in KINDS:
            raise ValueError(f"no kind of failure is named {kind!r}: one of {', '.join(KINDS)}")
        self.ended = True
        self.lease.end(ok=ok, latency_s=latency_s)
        self.selector.note_lease(self.lease.server, self.host, ok, kind)

    def forget(self) -> None:
        """`Lease.forget`."""
        self.ended = True
        self.lease.forget()

    def __repr__(self) -> str:
        return repr(self.lease)
