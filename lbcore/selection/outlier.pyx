"""Outlier detection: servers that fail more than others are ejected for a while. No I/O, no thread.

A server is ejected for one of these reasons, as in Envoy (outlier detection) and gRPC (A50):
consecutive failures  a number of failures one after the other: of any kind, of gateway errors, or of failures to get an answer.
success rate          at the end of an interval, among the servers with enough requests, if there are enough such servers:
                      rate < mean(rates) - factor * stdev(rates), with the standard deviation of the population.
failure percentage    the same, with a fixed limit in place of one that follows from the other servers.
An ejection lasts min(base * times, max), where `times` is the number of ejections so far, less one for each interval without. After
it the server is picked as before, and keeps its counts. A percentage of the servers may be ejected at once.
Vectors: rates 100, 100, 100, 100, 50: mean 90, deviation 20, the limit with factor 1.9 is 52: the last is ejected.
"""

cimport cython
from libc.math cimport sqrt
from libc.stdint cimport uint64_t

from lbcore.selection.flag cimport checked_flag
from lbcore.selection.lease cimport Lease, checked_kind
from lbcore.selection.rng cimport random_next, random_seeded
from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper

cdef enum:                     # Series
    ANY, GATEWAY, LOCAL

cdef enum:                     # origin
    ANSWERS, CONNECTIONS

DEFAULTS = {
    "consecutive_failures": 5, "consecutive_gateway": None, "consecutive_local": 5, "success_rate_factor": 1.9,
    "success_rate_hosts": 5, "success_rate_requests": 100, "failure_percent": None, "failure_percent_hosts": 5,
    "failure_percent_requests": 50, "interval_s": 10.0, "base_ejection_s": 30.0, "max_ejection_s": 300.0, "jitter_s": 0.0,
    "max_ejection_percent": 10, "always_eject_one": True, "split_local": False, "seed": 0,
}
NUMBERS = {                    # the options that are numbers: least, most, whether it has to be whole
    "consecutive_failures": (1, 1 << 30, True), "consecutive_gateway": (1, 1 << 30, True), "consecutive_local": (1, 1 << 30, True),
    "success_rate_factor": (0, 1000, False), "success_rate_hosts": (0, 1 << 30, True), "success_rate_requests": (0, 1 << 30, True),
    "failure_percent": (0, 100, False), "failure_percent_hosts": (0, 1 << 30, True), "failure_percent_requests": (0, 1 << 30, True),
    "interval_s": (1e-3, 1e9, False), "base_ejection_s": (1e-3, 1e9, False), "max_ejection_s": (1e-3, 1e9, False),
    "jitter_s": (0, 1e9, False), "max_ejection_percent": (0, 100, False),
}
MAY_BE_OFF = ("consecutive_failures", "consecutive_gateway", "consecutive_local", "success_rate_factor", "failure_percent")
FLAGS = ("always_eject_one", "split_local")


cdef void call(object function, tuple arguments) noexcept:
    """Call a hook. `sys.unraisablehook` gets its exceptions."""
    function(*arguments)


cdef class Host:
    pass


@cython.final
cdef class OutlierDetector(Wrapper):
    """OutlierDetector(selector, *, consecutive_failures=5, consecutive_gateway=None, consecutive_local=5, \
        success_rate_factor=1.9, success_rate_hosts=5, success_rate_requests=100, failure_percent=None, \
        failure_percent_hosts=5, failure_percent_requests=50, interval_s=10.0, base_ejection_s=30.0, max_ejection_s=300.0, \
        jitter_s=0.0, max_ejection_percent=10, always_eject_one=True, split_local=False, on_eject=None, on_return=None, \
        clock=None, seed=0)\n--\n\nEject servers that fail more than others for a while. It learns of failures from leases and from `report`.

    selector                     a selector, or a wrapper. Ejections do not touch `set_up`, which is for health checks.
    consecutive_failures         of any kind, one after the other (5).
    consecutive_gateway          gateway errors one after the other: kind `gateway`, or `local` without `split_local` (None: off).
    consecutive_local            failures to get an answer, one after the other; only with `split_local` (5).
    success_rate_factor          standard deviations below the mean (1.9), among success_rate_hosts (5) with success_rate_requests
                                 (100) in an interval; None: off.
    failure_percent              of an interval's requests (None: off; Envoy's number is 85), with failure_percent_hosts (5) and
                                 failure_percent_requests (50).
    interval_s                   length of an interval (10).
    base_ejection_s, max_ejection_s, jitter_s   30, 300 and 0.
    max_ejection_percent         of the servers may be ejected at once (10); with always_eject_one (True), one in any case.
    split_local                  count failures to get an answer apart from failing answers (False).
    on_eject, on_return          functions, called with (server, reason) after an ejection and with (server) after its end. They may
                                 use the selector; `sys.unraisablehook` gets their exceptions.
    clock                        a function that returns seconds; None = the monotonic clock.
    A report is O(1); the end of an interval and an ejection are O(servers). A pick costs some ns and a reading of the clock more.
    """

    def __init__(
            self, selector, *, consecutive_failures: int | None = 5, consecutive_gateway: int | None = None,
            consecutive_local: int | None = 5, success_rate_factor: float | None = 1.9, success_rate_hosts: int = 5,
            success_rate_requests: int = 100, failure_percent: float | None = None, failure_percent_hosts: int = 5,
            failure_percent_requests: int = 50, interval_s: float = 10.0, base_ejection_s: float = 30.0,
            max_ejection_s: float = 300.0, jitter_s: float = 0.0, max_ejection_percent: float = 10, always_eject_one: bool = True,
            split_local: bool = False, on_eject=None, on_return=None, clock=None, seed: int = 0):
        self.settings = {
            "consecutive_failures": consecutive_failures, "consecutive_gateway": consecutive_gateway,
            "consecutive_local": consecutive_local, "success_rate_factor": success_rate_factor,
            "success_rate_hosts": success_rate_hosts, "success_rate_requests": success_rate_requests,
            "failure_percent": failure_percent, "failure_percent_hosts": failure_percent_hosts,
            "failure_percent_requests": failure_percent_requests, "interval_s": interval_s, "base_ejection_s": base_ejection_s,
            "max_ejection_s": max_ejection_s, "jitter_s": jitter_s, "max_ejection_percent": max_ejection_percent,
            "always_eject_one": always_eject_one, "split_local": split_local, "seed": seed,
        }
        for name, value in self.settings.items():
            if name in FLAGS:
                checked_flag(name, value)
            elif name == "seed":
                if isinstance(value, bool) or not isinstance(value, int):
                    raise TypeError(f"a seed has to be an int, not {value!r}")
            elif value is not None or name not in MAY_BE_OFF:
                least, most, whole = NUMBERS[name]
                if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                    raise TypeError(f"{name} has to be {'an int' if whole else 'a number'}, not {value!r}")
                if not least <= value <= most:
                    raise ValueError(f"{name} has to be between {least:.12g} and {most:.12g}, not {value!r}")
        for name, function in (("on_eject", on_eject), ("on_return", on_return), ("clock", clock)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} has to be a function, not {function!r}")
        self.on_eject = on_eject
        self.on_return = on_return
        self.events = []
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
        """The record of a server. Raises KeyError."""
        cdef Algorithm base = self.base
        cdef uint64_t epoch = base.epochs[base.find(server)]
        cdef Host host = self.hosts.get(server)
        if host is None or host.epoch != epoch:
            host = Host()
            host.epoch = epoch
            self.hosts[server] = host
        return host

    # Outcomes

    def report(self, server, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """Report the outcome of a request that had no lease.

        kind  of a failure: `error` (a failing answer, as 500), `gateway` (as 502, 503, 504), `local` (no answer: refused, reset,
              timed out).
        Raises KeyError, or ValueError for another kind.
        """
        self.selector.report(server, latency_s=latency_s, ok=ok, kind=kind)
        self.observe(server, ok=ok, kind=kind)

    def observe(self, server, *, ok: bool = True, kind: str = "error") -> None:
        """`report` to the detector alone, for requests whose outcome the selector already knows by a lease."""
        checked_flag("ok", ok)
        self.ahead()
        with cython.critical_section(self.base):
            self.note(server, ok, kind)
        self.call_hooks()

    cdef int note(self, object server, bint ok, str kind) except -1:
        """Count an outcome, and eject the server if that is one failure too many."""
        cdef Host host = self.host(server)
        if ok:
            host.in_a_row[ANY] = host.in_a_row[GATEWAY] = host.in_a_row[LOCAL] = 0
            host.good[ANSWERS] += 1
            host.good[CONNECTIONS] += 1
            return 0
        checked_kind(kind)
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

    cdef int lease_over(self, object server, object note, bint ok, str kind) except -1:
        """`note`, unless the server was removed meanwhile, or removed and added again."""
        self.ahead()
        with cython.critical_section(self.base):
            try:
                if self.host(server) is note:
                    self.note(server, ok, kind)
            except KeyError:
                pass
        return self.call_hooks()

    cdef int count(self, object server, Host host, int series) except -1:
        """Count a failure in a series of consecutive ones, and eject the server at the limit."""
        host.in_a_row[series] += 1
        limit = self.limits[series]
        if limit is not None and host.in_a_row[series] >= <long>limit:
            host.in_a_row[series] = 0
            if not host.until_s:
                self.start_ejection(server, host, ("consecutive failures", "consecutive gateway", "consecutive local")[series], self.now())
                self.plan()
        return 0

    def lease(self, key=None, *, accept=None, exclude=(), cost: int = 1):
        """`Selector.lease`; an exception in its block is a failure, of kind `local` if this machine raised it, else of kind `error`."""
        cdef Lease lease
        self.ahead()
        lease = self.selector.lease(key, accept=accept, exclude=exclude, cost=cost)
        lease.selector = self
        with cython.critical_section(self.base):
            try:
                lease.watch(self, self.host(lease.server))
            except KeyError:                   # removed already
                pass
        return lease

    # Ejecting

    cdef int start_ejection(self, object server, Host host, str reason, double now_s) except -1:
        """Eject a server, unless too many are ejected already."""
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
        if self.on_eject is not None:
            self.events.append((self.on_eject, (server, reason)))
        return self.base.change()

    cdef int end_ejection(self, object server, Host host) except -1:
        """End an ejection. The caller has the algorithm derive `open` anew."""
        host.until_s = 0
        if self.on_return is not None:
            self.events.append((self.on_return, (server,)))
        return 0

    cdef int call_hooks(self) except -1:
        """Call the hooks for `events`. No change is under way and no critical section is held, so hooks may use the selector."""
        cdef list events
        while self.events:
            events, self.events = self.events, []
            for function, arguments in events:
                call(function, arguments)
        return 0

    def eject(self, server, reason: str = "by hand") -> bool:
        """Eject a server for the usual time, within the limits. Returns whether it is ejected now. Raises KeyError."""
        cdef Host host
        cdef bint out
        with cython.critical_section(self.base):
            host = self.host(server)
            if not host.until_s:
                self.start_ejection(server, host, reason, self.now())
                self.plan()
            out = host.until_s != 0
        self.call_hooks()
        return out

    def uneject(self, server) -> None:
        """End an ejection, for instance because an active check has succeeded. Raises KeyError."""
        cdef Host host
        with cython.critical_section(self.base):
            host = self.host(server)
            if host.until_s:
                self.end_ejection(server, host)
                self.base.change()
                self.plan()
        self.call_hooks()

    @property
    def ejected(self) -> dict:
        """`Selector.ejected`."""
        self.ahead()
        with cython.critical_section(self.base):
            return {**self.selector.ejected, **self.out()}

    cdef dict out(self):
        return {server: (<Host>host).reason for server, host in self.hosts.items() if (<Host>host).until_s}

    cdef int reshape(self, Algorithm selector) except -1:
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
        """Set `due_s` to the end of the interval or of the first ejection to end."""
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
        for server, host in self.hosts.items():
            if host.until_s and now_s >= host.until_s:
                self.end_ejection(server, host)
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
        self.plan()
        return self.call_hooks()

    cdef int judge(self, int origin, double now_s) except -1:
        """Compare the servers at the end of an interval, by their answers or by their connections (`origin`), and eject outliers."""
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
                    self.start_ejection(server, host, "success rate" + of, now_s)
        found = rates["failure_percent"]
        if settings["failure_percent"] is not None and found and len(found) >= settings["failure_percent_hosts"]:
            for rate, server, host in found:
                if 100 - rate >= <double>settings["failure_percent"] and not host.until_s:
                    self.start_ejection(server, host, "failure percentage" + of, now_s)
        return 0

    cdef dict options(self):
        return {name: value for name, value in self.settings.items() if value != DEFAULTS[name]}

    cdef dict all_options(self):
        functions = {"on_eject": self.on_eject, "on_return": self.on_return}
        return {**Wrapper.all_options(self), **{name: function for name, function in functions.items() if function is not None}}

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
