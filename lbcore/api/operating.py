"""What an operator changes of the instance itself: the level of its log, what its ping says, its end. I/O: the log.

Used on the thread of the event loop; `view` is read by others, too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from lbcore.api import audit
from lbcore.api.refused import RefusedError
from lbcore.api.shape import View, instant
from lbcore.api.used import identity
from lbcore.config.static.log import LEVELS, NAMES
from lbcore.config.units import format_duration, parse_duration

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=30)  # for which another level of the log holds
MOST_CHARACTERS = 100  # of a text of a client in a message
ACTIONS = ("fail", "ok")  # of the ping
UNSEEN = range(200, 300)  # statuses that whoever asks the ping takes for those of an instance that is well


def shown(value: Any) -> str:
    """What somebody has sent, as far as it is worth to be repeated."""
    text = repr(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def level_named(value: Any) -> str:
    """The name of a level, in capitals. Raises RefusedError."""
    name = value.strip().upper() if isinstance(value, str) else ""
    name = "WARN" if name == "WARNING" else name
    if name not in NAMES:
        raise RefusedError(400, f"{shown(value)} is no level of the log; known: {', '.join(NAMES)}")
    return name


def span_of(value: Any) -> timedelta:
    """How long another level holds: a text like `10m`. Raises RefusedError."""
    try:
        if isinstance(value, str) and value.strip()[-1:].isalpha():
            found = parse_duration(value.strip())
            if SHORTEST <= found <= LONGEST:
                return found
    except ValueError:
        pass
    limits = f"{format_duration(SHORTEST)} to {LONGEST // timedelta(hours=1)}h"
    raise RefusedError(400, f"for: {shown(value)} is no duration of {limits} with its unit: write 30s, 10m or 2h")


class LogLevel:
    """The level of the log: the configured one, or for a time another one. The last one who sets it decides.

    configured  its name.
    tell        has all processes of the instance log from a level on, a number; None: from the configured one on.
    """

    def __init__(self, configured: str, tell: Callable[[int | None], None]) -> None:
        self.configured = configured
        self.override = ""  # the name of another level that holds; empty: none does
        self._tell = tell
        self._ends_s = 0.0  # of the monotonic clock; 0: when it is reset
        self._end: asyncio.TimerHandle | None = None

    @property
    def level(self) -> str:
        """The name of the level that holds."""
        return self.override or self.configured

    def view(self) -> View:
        """What holds, and until when: null if that is not known, as nothing but a reset ends it."""
        override, ends_s = self.override, self._ends_s
        until = instant(time.time() + ends_s - time.monotonic()) if override and ends_s else None
        return {"level": override or self.configured, "configured": self.configured, "overridden": bool(override),
                "until": until}  # fmt: skip

    @property
    def state(self) -> tuple[str, float]:
        """What changes with each change."""
        return self.override, self._ends_s

    def set(self, level: str, span: timedelta | None, asker: str) -> str:
        """Have another level hold, for a time or until it is reset. Returns what was done, for people."""
        before = self.level
        self._stop_timer()
        self.override = level
        if span is not None:
            seconds = span.total_seconds()
            self._ends_s = time.monotonic() + seconds
            self._end = asyncio.get_running_loop().call_later(seconds, self._expire)
        rest = "until it is reset" if span is None else f"for {format_duration(span)}"
        self._tell(LEVELS[level])
        audit.log.info("the level of the log is set to %s by %s, %s; it was %s", level, asker, rest, before)
        return f"the level of the log is {level} {rest}; the configured one is {self.configured}"

    def reset(self, asker: str) -> str:
        """Have the configured level hold again. Returns what was done, for people."""
        before = self.level
        self._restore()
        audit.log.info("the level of the log is reset to %s by %s; it was %s", self.configured, asker, before)
        return f"the level of the log is {self.configured}, as configured"

    def _expire(self) -> None:
        before = self.level
        self._restore()
        audit.log.info("the level of the log is %s again, as configured: the time of %s is over", self.level, before)

    def _restore(self) -> None:
        self._stop_timer()
        self.override = ""
        self._tell(None)

    def _stop_timer(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end, self._ends_s = None, 0.0


class PingSwitch:
    """Whether the ping fails by hand.

    failing_status  what it answers then; None: no ping is configured, and nothing can be changed.
    tell            has all workers answer so, or as usual.
    """

    def __init__(self, failing_status: int | None, tell: Callable[[bool], None]) -> None:
        self.failing_status = failing_status
        self.since_unix_s = 0.0  # since when it fails by hand; 0: it does not
        self.by = ""
        self._tell = tell

    def fail(self, asker: str) -> str:
        """Have it fail. Returns what was done, for people. Raises RefusedError."""
        status = self.failing_status
        assert status is not None
        if status in UNSEEN:
            text = f"ping.terminatingStatusCode is {status}: whoever asks /ping would not see that it fails"
            raise RefusedError(400, text)
        if not self.since_unix_s:
            self.since_unix_s, self.by = time.time(), asker
            self._tell(True)
        audit.log.info("/ping is made to fail by %s: it answers %d, and requests are served", asker, status)
        return f"/ping answers {status} until that is taken back; requests are served"

    def restore(self, asker: str) -> str:
        """Take it back. Returns what was done, for people."""
        self.since_unix_s, self.by = 0.0, ""
        self._tell(False)
        audit.log.info("/ping fails by hand no more (by %s)", asker)
        return "/ping answers 200"


@dataclass
class Stop:
    """The graceful end of the process.

    accepting_s  how long it goes on accepting connections after that was asked for.
    draining_s   how long it then waits for what is under way, at most.
    end          asks for it, as SIGTERM does; a second time changes nothing.
    has_begun    whether somebody has asked for it, by a signal or here.
    process      what no other process of this machine has had.
    """

    accepting_s: float
    draining_s: float
    end: Callable[[], None]
    has_begun: Callable[[], bool]
    process: Mapping[str, int] = field(default_factory=lambda: identity(os.getpid()))

    @property
    def plan(self) -> str:
        """What will happen, for people."""
        accepting = f"for {self.accepting_s:g} s more" if self.accepting_s else "no more"
        what = "requests and connections that are under way"
        drained = f"has {self.draining_s:g} s at most for {what}" if self.draining_s else f"cuts {what}"
        return f"it accepts connections {accepting}, then {drained}, and ends"

    def view(self) -> View:
        return {
            "stopping": self.has_begun(),
            "acceptSeconds": self.accepting_s,
            "drainSeconds": self.draining_s,
            "process": dict(self.process),
        }


def ping_view(ping: PingSwitch | None, stop: Stop | None) -> View | None:
    """What the ping answers, and why; None: there is none."""
    if ping is None or ping.failing_status is None:
        return None
    stopping = stop is not None and stop.has_begun()
    return {
        "status": ping.failing_status if stopping or ping.since_unix_s else 200,
        "failingStatus": ping.failing_status,
        "failsSince": instant(ping.since_unix_s) if ping.since_unix_s else None,
        "failedBy": ping.by or None,
        "stopping": stopping,
    }
