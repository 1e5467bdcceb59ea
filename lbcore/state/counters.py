"""Counters for Python: sums over all workers, read without a lock. No I/O."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

# Names of the error counters, in the order of ErrorKind in layout.pxd.
ERROR_NAMES = (
    "bad_request",
    "client_timeout",
    "client_abort",
    "no_router",
    "no_server",
    "refused",
    "timeout",
    "reset",
    "eof",
    "resolve",
    "tls",
    "garbage",
    "internal",
    "resource",
    "abuse",
    "closed",
)

# The same causes in words.
ERROR_TEXTS = (
    "request not understood",
    "client too slow",
    "client gone",
    "no router",
    "no server",
    "connection refused",
    "timed out",
    "connection reset",
    "connection closed without an answer",
    "name not resolved",
    "TLS handshake failed",
    "answer not understood",
    "internal error",
    "lbcore lacked a descriptor, a port or memory",
    "cost too much",
    "closed by an operator",
)

# Of the counters of failed handshakes, in the order of HandshakeCause in layout.pxd.
HANDSHAKE_CAUSES = ("closed", "refused", "unshared", "certificate", "garbage")

# Of the counters of lost datagrams, in the order of DatagramLoss in layout.pxd.
DATAGRAM_LOSSES = ("unserved", "refused", "lacking", "unsent", "overflowed")



def denial_key(layer: str, name: str) -> int:
    """The number by which refusals of a middleware of a layer, `http` or `tcp`, are counted, by its qualified name."""
    return int.from_bytes(hashlib.blake2b(f"{layer}|{name}".encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """The counters of one server since its slot was assigned.

    requests        exchanges sent to it, retries included.
    in_flight       exchanges that have not ended.
    responses       by status class; index 0 counts exchanges that ended without an answer, 1 to 5 are 1xx to 5xx.
    bytes_in/out    body bytes from and to the server.
    shed            copies for a mirror that were not sent: too many under way, or their client has gone.
    oversized       copies that were not sent because their body was too long.
    first_byte_s    sum of the times to first byte, in seconds, if metrics or an access log are on.
    hedges          those of `retries` that began while another server was asked.
    hedges_won      those of `hedges` whose answer was the client's.
    """

    requests: int
    in_flight: int
    connect_errors: int
    retries: int
    responses: tuple[int, ...]
    bytes_in: int
    bytes_out: int
    shed: int
    oversized: int
    first_byte_s: float
    hedges: int = 0
    hedges_won: int = 0


@dataclass(frozen=True, slots=True)
class QueueCounters:
    """The counters of requests that found all servers of a service full.

    waiting    requests in the queue now.
    queued     requests that had to wait, since the slot of the service was assigned.
    timed_out  those of them that waited in vain.
    rejected   requests that found the queue full, too.
    abandoned  those of `queued` whose client has gone.
    """

    waiting: int
    queued: int
    timed_out: int
    rejected: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class CallCounters:
    """The counters of the calls of one middleware in Python.

    calls    of its methods, since its slot was assigned.
    waiting  async ones that have not ended.
    slow     times that one has held the event loop for longer than its limit.
    failed   calls that have raised; `expired`: async ones that had not ended in their time.
    """

    calls: int
    waiting: int
    slow: int
    failed: int
    expired: int


@dataclass(frozen=True, slots=True)
class EntryPointCounters:
    """The counters of one entry point since the start.

    responses       by status class, as in ServerCounters.
    errors          failed exchanges by cause, keyed by ERROR_NAMES.
    bytes_in/out    from and to clients, heads included.
    handshakes_failed  by cause, keyed by HANDSHAKE_CAUSES.
    datagrams_in       of UDP, from clients, lost ones included; `datagrams_out`: sent to clients.
    datagrams_lost_in/out  on their way to servers and to clients, by cause, keyed by DATAGRAM_LOSSES.
    sessions_shed      sessions of UDP that were ended to make room for others.
    denied             requests, and connections of layer 4, that a middleware has refused.
    """

    accepted: int
    open_connections: int
    requests: int
    responses: tuple[int, ...]
    errors: dict[str, int]
    bytes_in: int
    bytes_out: int
    handshakes_failed: dict[str, int]
    datagrams_in: int = 0
    datagrams_out: int = 0
    datagrams_lost_in: dict[str, int] = field(default_factory=dict)
    datagrams_lost_out: dict[str, int] = field(default_factory=dict)
    sessions_shed: int = 0
    denied: int = 0
