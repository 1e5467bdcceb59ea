"""A real dockerd of the tests, on loopback and in a folder of its own, driven by its API; containers are busybox."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port

DOCKERD = shutil.which("dockerd", path="/usr/sbin:/usr/bin") or ""
BUSYBOX = "/bin/busybox"
IMAGE = "tests:1"
START_S = 60.0


class Docker:
    """`url` and `socket` are where it answers."""

    limits: tuple[str, ...] = ("nofile",)  # of containers
    image: str

    def __init__(self, port: int = 0, driver: str = "vfs") -> None:
        """`driver` of its layers: vfs works everywhere, and copies all files for each layer; empty: dockerd chooses."""
        assert DOCKERD, "dockerd is not installed: see ci/system.sh"
        self.port = port or free_port()
        self.driver = driver
        self.url = f"tcp://127.0.0.1:{self.port}"
        # The path of a Unix socket has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="lbd-", dir="/tmp"))
        self.socket = self.folder / "s"
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)
        self.networks: list[str] = []
        self.process = self._started()
        self._import_image()

    def _command(self) -> list[str]:
        names = {name: str(self.folder / name) for name in ("data", "run", "pid")}
        command = [DOCKERD, "--data-root", names["data"], "--exec-root", names["run"], "--pidfile", names["pid"]]
        command += ["-H", self.url, "-H", f"unix://{self.socket}", "--bridge=none"]
        command += ["--storage-driver", self.driver] if self.driver else []
        command += ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        return command

    def _started(self) -> subprocess.Popen[bytes]:
        log = (self.folder / "log").open("ab")
        process = subprocess.Popen(self._command(), stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if self.client.get("/_ping").status_code == 200:
                    return process
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise AssertionError(f"dockerd does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def restart(self) -> None:
        """Stop, and start again with the same data."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop; containers stop with it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def kill(self) -> None:
        """End it without a word; its containers run on."""
        self.process.kill()
        self.process.wait(60)

    def start(self) -> None:
        """Start it again with the same data."""
        self.process = self._started()

    def close(self) -> None:
        """Remove everything."""
        if self.process.poll() is None:
            for container in self.ask("GET", "/containers/json", all=1):
                self.ask("DELETE", f"/containers/{container['Id']}", force=1)
            for network in self.networks:
                with contextlib.suppress(AssertionError):
                    self.ask("DELETE", f"/networks/{network}")
            self.stop()
        self.client.close()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if (where := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", where], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """An answer of the API."""
        answer = self.client.request(method, path, json=body, params=query)
        assert answer.status_code < 300 or answer.status_code == 304, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else None

    def _import_image(self) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(BUSYBOX, "bin/busybox")
            for folder in ("tmp", "etc", "www"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
        repository, _, tag = IMAGE.partition(":")
        answer = self.client.post(
            "/images/create", params={"fromSrc": "-", "repo": repository, "tag": tag}, content=archive.getvalue()
        )
        assert answer.status_code == 200, answer.text
        found = re.search(r"sha256:[0-9a-f]+", answer.text)
        assert found, answer.text
        self.image = found[0]

    def create(
        self,
        name: str,
        labels: Mapping[str, str],
        *,
        port: int = 0,
        exposed: tuple[str, ...] = (),
        network: str = "host",
        health: str = "",
        bindings: Mapping[str, Any] | None = None,
        mounts: Mapping[str, str] | None = None,
        first: str = "",
    ) -> str:
        """Create a container, which answers its name on `port` if there is one. Returns its id.

        mounts  paths in it, by paths of the machine; `first`: commands that it runs first.
        """
        script = f"trap 'exit 0' TERM; {first}"
        if port:
            script += f"echo -n {name} > /www/index.html; /bin/busybox httpd -p {port} -h /www; "
        body: dict[str, Any] = {
            "Image": self.image,
            "Cmd": ["/bin/busybox", "sh", "-c", script + "while :; do /bin/busybox sleep 0.1; done"],
            "Labels": {key: str(value) for key, value in labels.items()},
            "ExposedPorts": {each: {} for each in exposed},
            "HostConfig": {"NetworkMode": network, "PortBindings": bindings or {}},
        }
        body["HostConfig"]["Binds"] = [f"{here}:{there}" for here, there in (mounts or {}).items()]
        body["HostConfig"]["Ulimits"] = [{"Name": name, "Soft": 1024, "Hard": 1024} for name in self.limits]
        if health:
            second = 1_000_000_000
            body["Healthcheck"] = {
                "Test": ["CMD", "/bin/busybox", *health.split()],
                "Interval": second // 5,
                "Retries": 1,
            }
        return str(self.ask("POST", "/containers/create", body, name=name)["Id"])

    def run(self, name: str, labels: Mapping[str, str], **more: Any) -> str:
        """Create and start a container."""
        identity = self.create(name, labels, **more)
        self.ask("POST", f"/containers/{identity}/start")
        return identity

    def remove(self, name: str) -> None:
        """Kill and remove a container."""
        self.ask("DELETE", f"/containers/{name}", force=1)

    def execute(self, name: str, *command: str) -> None:
        """Run a command in a container."""
        made = self.ask("POST", f"/containers/{name}/exec", {"Cmd": ["/bin/busybox", *command]})
        self.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})

    def make_network(self, name: str, subnet: str) -> None:
        """A bridge, removed with everything else."""
        body = {"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}}
        self.ask("POST", "/networks/create", body)
        self.networks.append(name)


class Podman(Docker):
    """The same API of Podman, without a daemon of Docker."""

    limits = ("nofile", "nproc")

    def _command(self) -> list[str]:
        runtime = shutil.which("runc", path="/usr/sbin:/usr/bin") or "runc"
        command = ["podman", "--root", str(self.folder / "data"), "--runroot", str(self.folder / "run")]
        command += ["--storage-driver", "vfs", "--cgroup-manager=cgroupfs", "--runtime", runtime]
        return [*command, "system", "service", "--time=0", self.url.replace("tcp://", "tcp:")]


@contextlib.contextmanager
def docker(driver: str = "vfs") -> Iterator[Docker]:
    """A dockerd for a block."""
    found = Docker(driver=driver)
    try:
        yield found
    finally:
        found.close()


class Guard:
    """A proxy in front of a dockerd, as operators have one who give nobody its socket. It passes questions on.

    refuses  statuses by expressions of paths, which may be changed at any time.
    between  called with a path when it was answered, before the answer is passed on.
    """

    def __init__(self, port: int, refuses: Mapping[str, int], between: Callable[[str], None] | None = None) -> None:
        guard = self
        self.refuses = dict(refuses)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                self.close_connection = True
                refused = [status for path, status in guard.refuses.items() if re.search(path, self.path)]
                if refused:
                    body = b"<html><body><h1>Forbidden</h1></body></html>"
                    self.send_response(refused[0])
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                to = http.client.HTTPConnection("127.0.0.1", port)
                with contextlib.closing(to), contextlib.suppress(OSError):
                    to.request("GET", self.path)
                    answer = to.getresponse()
                    if between is not None:
                        between(self.path)
                    self.send_response(answer.status)
                    for name in ("Content-Type", "Api-Version", "Date"):
                        if name in answer.headers:
                            self.send_header(name, answer.headers[name])
                    self.send_header("Connection", "close")
                    self.end_headers()
                    while part := answer.read1(65536):
                        self.wfile.write(part)
                        self.wfile.flush()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"tcp://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def guarded(port: int, refuses: Mapping[str, int] | None = None, **more: Any) -> Iterator[Guard]:
    """A proxy for a block. `more`: as of `Guard`."""
    found = Guard(port, refuses or {}, **more)
    try:
        yield found
    finally:
        found.close()
