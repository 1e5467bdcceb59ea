"""Which labels may name any file: those of lbcore's own container, and of containers that have the daemon's socket.

Labels are written by whoever starts a container. Who starts that of lbcore has chosen its files, too. Who may give a
container the socket of a daemon of root can have that daemon read every file of the machine: labels give him nothing
that he has not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IDENTITY = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
# Files that a runtime makes for a container, and mounts from a folder that has its identity as a name.
MADE = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv"})
LOCAL = "unix://"

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Own:
    """What lbcore can tell of the container in which it runs.

    exact   identities that nothing else has.
    shared  identities of its host name and addresses: its own, or those of the container whose network it shares.
    layer   the folder of its root file system; empty: unknown.
    """

    exact: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    layer: str = ""

    def among(self, details: Mapping[str, Answer]) -> str | None:
        """The identity of the own container among those of a daemon, by identity; None: it cannot be told."""
        found = [key for key in self.exact if key in details]
        likely = [key for key in self.shared if key in details]
        if not found and self.layer:
            found = [key for key in likely if _layer(details[key]) == self.layer]
            found = found or [key for key, each in details.items() if _layer(each) == self.layer]
        if not found:
            found = likely
            if any(_joins(each, key, details[key]) for key in found for each in details.values()):
                return None
        return found[0] if len(found) == 1 else None

    def has(self, identity: str) -> bool:
        """Whether a container of which no more than its identity is known is the own one."""
        return identity in self.exact if self.exact else identity in self.shared


def own_container(proc: Path = Path("/proc/self"), environment: Path = Path("/run/.containerenv")) -> Own:
    """What the kernel and the runtime say of the container in which this process runs; nothing outside of one."""
    exact = set(IDENTITY.findall(_last_parts(_text(proc / "cgroup"))))
    exact |= set(re.findall(r'^id="([0-9a-f]{64})"$', _text(environment), re.MULTILINE))
    shared: set[str] = set()
    layer = ""
    for line in _text(proc / "mountinfo").splitlines():
        # See proc(5): id, parent, device, root, mount point, ..., "-", type, source, options of the super block.
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5:
            continue
        if fields[4] in MADE:
            shared |= set(IDENTITY.findall(fields[3])[-1:])
        elif fields[4] == "/":
            upper = re.search(r"(?:^|[ ,])upperdir=([^,]+)", after)
            layer = upper[1] if upper else ""
    return Own(frozenset(exact), frozenset(shared), layer)


def trusted_socket(endpoint: str) -> str:
    """The socket at which a daemon is asked, if whoever has it can do no less than lbcore; empty: it gives no trust.

    It does not where the daemon is on another machine, or runs for another user than root, as one who is not lbcore's.
    """
    path = endpoint.removeprefix(LOCAL) if endpoint.startswith(LOCAL) else ""
    try:
        return _plain(path) if path and os.stat(path).st_uid in (0, os.geteuid()) else ""
    except OSError:
        return ""


def holds(details: Answer, socket: str) -> bool:
    """Whether a container, or the tasks of a service, have a socket of the machine. `socket`: see `trusted_socket`."""
    return bool(socket) and any(_plain(source) == socket for source in _sources(details))


def _sources(details: Answer) -> Iterator[str]:
    """The files and folders of the machine that are mounted."""
    task = (details.get("Spec") or {}).get("TaskTemplate") or {}
    for mounts in (details.get("Mounts"), (task.get("ContainerSpec") or {}).get("Mounts")):
        for mount in mounts or []:
            if isinstance(mount, dict) and mount.get("Type") == "bind":
                yield str(mount.get("Source") or "")


def _plain(path: str) -> str:
    path = os.path.normpath(path)
    return path.removeprefix("/var") if path.startswith("/var/run/") else path


def _layer(details: Answer) -> str:
    return str(((details.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir") or "")


def _joins(details: Answer, key: str, other: Answer) -> bool:
    """Whether a container has the network of another one."""
    kind, _, wanted = str((details.get("HostConfig") or {}).get("NetworkMode") or "").partition(":")
    if kind != "container" or not wanted:
        return False
    return key.startswith(wanted) or str(other.get("Name")).lstrip("/") == wanted


def _last_parts(cgroups: str) -> str:
    """The last part of each control group that has an identity: that of the innermost container."""
    parts = []
    for line in cgroups.splitlines():
        found = [part for part in line.split("/") if IDENTITY.search(part)]
        parts += found[-1:]
    return "\n".join(parts)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
