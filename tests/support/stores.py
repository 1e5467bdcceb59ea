"""Real stores of the tests, on loopback and in folders of their own: etcd, Consul, ZooKeeper. They may be killed."""

from __future__ import annotations

import base64
import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError, NotEmptyError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

from tests.support.ports import free_port

START_S = 60.0


class Store:
    """A store; `name` is that of the provider, `key` of its settings.

    again  whether it has its data after it was killed.
    """

    name = ""
    key = ""
    again = True
    value_limit = 1 << 20  # of a value, in bytes

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(trust_env=False, verify=False, timeout=30)  # one for all: making it is slow
        self.start()

    @property
    def settings(self) -> dict[str, Any]:
        """What a static configuration says."""
        return {"endpoints": [f"127.0.0.1:{self.port}"]}

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def put(self, values: Mapping[str, str]) -> None:
        """Write keys, in one transaction if they are few."""
        raise NotImplementedError

    def delete(self, keys: Iterable[str]) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        """Delete all keys."""
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + START_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError(f"{self.name} does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(30)

    def pause(self) -> None:
        """Keep it from answering, with its connections open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self.http.close()


class Etcd(Store):
    """`peers`: ports of the members of a cluster by their names, of which `member` is this one."""

    name = key = "etcd"

    def __init__(self, folder: Path, member: str = "t", peers: Mapping[str, int] | None = None) -> None:
        self.member = member
        self.peers = dict(peers or {member: free_port()})
        self.token = ""
        super().__init__(folder)

    def command(self) -> list[str]:
        url, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peers[self.member]}"
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in self.peers.items())
        command = ["etcd", "--name", self.member, "--data-dir", str(self.folder / "data")]
        command += ["--listen-client-urls", url, "--advertise-client-urls", url]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--unsafe-no-fsync"]  # the process is killed, never the machine
        return [*command, "--initial-cluster", cluster, "--heartbeat-interval", "100", "--election-timeout", "1000"]

    def start(self) -> None:
        if len(self.peers) > 1:  # it answers when others are there
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
            return
        super().start()

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return bool(self.http.get(f"http://127.0.0.1:{self.port}/health").json()["health"] == "true")
        return False

    def ask(self, path: str, data: Mapping[str, Any]) -> Any:
        headers = {"Authorization": self.token} if self.token else {}
        url = f"http://127.0.0.1:{self.port}/v3{path}"
        answer = self.http.post(url, json=data, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, values: Mapping[str, str]) -> None:
        pairs = list(values.items())
        for first in range(0, len(pairs), 128):
            operations = [
                {"request_put": {"key": _text(key), "value": _text(value)}} for key, value in pairs[first : first + 128]
            ]
            self.ask("/kv/txn", {"success": operations})

    def delete(self, keys: Iterable[str]) -> None:
        self.ask("/kv/txn", {"success": [{"request_delete_range": {"key": _text(key)}} for key in keys]})

    def clear(self) -> None:
        self.ask("/kv/deleterange", {"key": _text("\0"), "range_end": _text("\0")})


class Consul(Store):
    name = key = "consul"
    again = False
    value_limit = 512 << 10

    def __init__(self, folder: Path, configuration: str = "", token: str = "") -> None:
        self.configuration = configuration
        self.token = token
        self.ports = [free_port() for _ in range(3)]
        super().__init__(folder)

    def command(self) -> list[str]:
        consul = shutil.which("consul")
        assert consul, "Consul is missing: `make system` installs it, from an older Debian"
        serf, wan, server = self.ports
        command = [consul, "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", f"-http-port={self.port}"]
        command += ["-dns-port=-1", "-grpc-port=-1", f"-serf-lan-port={serf}", f"-serf-wan-port={wan}"]
        command += [f"-server-port={server}", "-log-level=err"]
        if self.configuration:
            (self.folder / "more.hcl").write_text(self.configuration)
            command.append("-config-file=more.hcl")
        return command

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            return bool(self.ask("GET", "/status/leader") and self.ask("GET", "/catalog/nodes") is not None)
        return False

    def ask(self, method: str, path: str, data: Any = None, **more: Any) -> Any:
        headers = {"X-Consul-Token": self.token} if self.token else {}
        url = f"http://127.0.0.1:{self.port}/v1{path}"
        more = more or {"json": data}
        answer = self.http.request(method, url, headers=headers, **more)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def put(self, values: Mapping[str, str]) -> None:
        pairs = list(values.items())
        for key, value in pairs:
            if len(value) > self.value_limit // 2:  # more than a transaction may have
                self.ask("PUT", f"/kv/{key}", None, content=value.encode())
        pairs = [(key, value) for key, value in pairs if len(value) <= self.value_limit // 2]
        for first in range(0, len(pairs), 64):
            some = pairs[first : first + 64]
            self.ask("PUT", "/txn", [{"KV": {"Verb": "set", "Key": key, "Value": _text(value)}} for key, value in some])

    def delete(self, keys: Iterable[str]) -> None:
        self.ask("PUT", "/txn", [{"KV": {"Verb": "delete", "Key": key}} for key in keys])

    def clear(self) -> None:
        self.ask("DELETE", "/kv/traefik?recurse")


class ZooKeeper(Store):
    """`peers`: two ports of each member of an ensemble by its number, of which `member` is this one."""

    name, key = "zookeeper", "zooKeeper"
    value_limit = 1_000_000

    def __init__(self, folder: Path, member: int = 0, peers: Mapping[int, tuple[int, int]] | None = None) -> None:
        self.member = member
        self.peers = dict(peers or {})
        super().__init__(folder)

    def start(self) -> None:
        if self.peers:  # it answers when others are there
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
            return
        super().start()

    def command(self) -> list[str]:
        jar = next(str(each) for each in Path("/usr/share/java").glob("zookeeper.jar"))
        tick_ms = 1000 if self.peers else 2000
        settings = f"tickTime={tick_ms}\ndataDir={self.folder}/data\n"
        settings += f"clientPort={self.port}\nclientPortAddress=127.0.0.1\n"
        if self.peers:
            settings += "initLimit=60\nsyncLimit=8\n"  # in ticks: one that hangs for so long is left
            settings += "".join(f"server.{n}=127.0.0.1:{one}:{other}\n" for n, (one, other) in self.peers.items())
            (self.folder / "data").mkdir(exist_ok=True)
            (self.folder / "data" / "myid").write_text(str(self.member))
        (self.folder / "zoo.cfg").write_text(f"{settings}admin.enableServer=false\n4lw.commands.whitelist=*\n")
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no"]  # killed, but never the machine
        return ["java", *options, "-cp", jar, main, str(self.folder / "zoo.cfg")]

    @property
    def client(self) -> KazooClient:
        if not hasattr(self, "_client"):
            again = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.2)
            self._client = KazooClient(f"127.0.0.1:{self.port}", timeout=10, connection_retry=again)
            self._client.retry = KazooRetry(max_tries=50, delay=0.05, max_delay=0.2)
            self._client.start(30)
        return self._client

    def answers(self) -> bool:
        with contextlib.suppress(KazooException, KazooTimeoutError, OSError):
            probe = KazooClient(f"127.0.0.1:{self.port}", timeout=5)
            try:
                probe.start(1)
                return probe.exists("/") is not None
            finally:
                probe.stop()
                probe.close()
        return False

    def put(self, values: Mapping[str, str]) -> None:
        keys = {PurePosixPath(f"/{key}") for key in values}
        places = sorted(str(place) for place in {above for key in keys for above in key.parents[:-1]} | keys)
        self.together([("create", place, b"") for place in self.client.retry(self.missing, places)])
        self.together([("set_data", f"/{key}", value.encode()) for key, value in values.items()])

    def missing(self, places: Iterable[str]) -> list[str]:
        found = [(place, self.client.exists_async(place)) for place in places]
        return [place for place, result in found if result.get(30) is None]

    def together(self, operations: list[tuple[str, str, bytes]]) -> None:
        """Do these in transactions of a hundred."""
        for first in range(0, len(operations), 100):

            def commit(some: list[tuple[str, str, bytes]] = operations[first : first + 100]) -> list[Any]:
                transaction = self.client.transaction()  # which can be committed once
                for name, place, value in some:
                    getattr(transaction, name)(place, value)
                found: list[Any] = transaction.commit()
                return found

            results = self.client.retry(commit)
            assert not any(isinstance(result, Exception) for result in results), results

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with contextlib.suppress(NoNodeError, NotEmptyError):
                self.client.delete(f"/{key}")

    def clear(self) -> None:
        for name in self.client.retry(self.client.get_children, "/"):
            if name != "zookeeper":
                self.client.delete(f"/{name}", recursive=True)

    def close(self) -> None:
        if hasattr(self, "_client"):
            self._client.stop()
            self._client.close()
        super().close()


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
