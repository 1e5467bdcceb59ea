"""The service manager: notify it of readiness, reloads, status and liveness (sd_notify), inherit its sockets
(sd_listen_fds)."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


class Notifier:
    """Sends states to the manager that has started this process; does nothing without one. Source: sd_notify(3)."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Remove NOTIFY_SOCKET and WATCHDOG_* from `environ`, so that no child notifies the manager."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        self._socket: socket.socket | None = None
        self.watchdog_s = 0.0  # 0 = the manager has no watchdog
        if not address.startswith(("/", "@")):
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if usec.isdigit() and pid in ("", str(os.getpid())):
            self.watchdog_s = int(usec) / 1e6

    def ready(self, status: str) -> None:
        """Start or reload is complete."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """Shutdown has begun."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog; due every `watchdog_s / 2`."""
        self._send("WATCHDOG=1")

    def _send(self, *fields: str) -> None:
        if self._socket is not None:
            # A manager that has gone, or is slow, must not stop the traffic.
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(field.replace("\n", " ") for field in fields).encode(), self._address)

    def close(self) -> None:
        """Close the socket; later states are not sent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def passed_sockets(environ: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """The listening sockets that the manager has passed, by name; removes LISTEN_* from `environ`.

    A socket without a name is called `unknown`, as by systemd. Source: sd_listen_fds(3).
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    sockets: dict[str, list[socket.socket]] = {}
    for index in range(int(count)):
        fd = LISTEN_FDS_START + index
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        name = names[index] if index < len(names) and names[index] else "unknown"
        sockets.setdefault(name, []).append(sock)
    return sockets
