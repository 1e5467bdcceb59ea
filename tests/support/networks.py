"""Networks of their own for a test: two namespaces of the kernel with a wire between them, which may be cut."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

HERE, THERE = "192.0.2.1", "192.0.2.2"  # the two ends of a wire: addresses inside of the namespaces alone
CLONE_NEWNET = 0x40000000  # <sched.h>


class Network:
    """A namespace, which lasts as long as a process in it. `prefix`: of commands that run there."""

    def __init__(self) -> None:
        stays = ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
        self._holder = subprocess.Popen(stays, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline(), "no network of its own can be made: that needs the rights of root"
        self.pid = self._holder.pid
        self.prefix = ("nsenter", "-t", str(self.pid), "-n")

    def ip(self, *arguments: str) -> str:
        """Run ip(8) there. Returns what it prints."""
        done = subprocess.run([*self.prefix, "ip", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listener(self, address: str) -> socket.socket:
        """A listening socket there, for this process; a thread of its own enters the namespace, and ends."""

        def listen() -> socket.socket:
            place = os.open(Path("/proc") / str(self.pid) / "ns" / "net", os.O_RDONLY)
            try:
                assert ctypes.CDLL(None).setns(place, CLONE_NEWNET) == 0
            finally:
                os.close(place)
            return socket.create_server((address, 0))

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(listen).result()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(30)


class Wire:
    """Two networks, `here` and `there`, of which no other leads to either."""

    def __init__(self) -> None:
        self.here, self.there = Network(), Network()
        other = ("type", "veth", "peer", "name", "far", "netns", str(self.there.pid))
        self.here.ip("link", "add", "near", *other)
        for end, name, address in ((self.here, "near", HERE), (self.there, "far", THERE)):
            end.ip("address", "add", f"{address}/24", "dev", name)
            end.ip("link", "set", name, "up")
        # What is sent to an address that has gone is to be lost on its way, and not to fail where it is sent.
        hardware = json.loads(self.there.ip("-json", "link", "show", "far"))[0]["address"]
        self.here.ip("neighbour", "replace", THERE, "lladdr", hardware, "dev", "near", "nud", "permanent")

    def cut(self) -> None:
        """Nothing comes through, and no end of a connection tells of it."""
        self.there.ip("address", "delete", f"{THERE}/24", "dev", "far")

    def join(self) -> None:
        """Things come through again."""
        self.there.ip("address", "add", f"{THERE}/24", "dev", "far")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.here.close()
        self.there.close()
