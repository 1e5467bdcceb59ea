"""`Ketama(compatible="nginx")` beside nginx itself: `hash ... consistent` over three servers of this machine."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.selection import Ketama
from tests.support.instance import eventually
from tests.support.ports import free_port

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    upstream ring {{ hash $arg_k consistent; {servers} }}
    upstream down {{ hash $arg_k consistent; {with_one_down} }}
    server {{
        listen {entry};
        location /ring {{ proxy_pass http://ring; }}
        location /down {{ proxy_pass http://down; }}
    }}
    {backends}
}}
"""


def free_address(host: str) -> str:
    return f"{host}:{free_port(host)}"


class Nginx:
    def __init__(self, folder: Path) -> None:
        self.entry = free_address("127.0.0.1")
        self.servers = {free_address(f"127.0.0.{2 + number}"): 1 + number % 2 for number in range(3)}
        listed = [f"server {server} weight={weight};" for server, weight in self.servers.items()]
        config = folder / "nginx.conf"
        config.write_text(
            CONFIG.format(
                folder=folder,
                entry=self.entry,
                servers=" ".join(listed),
                with_one_down=" ".join([listed[0], listed[1].replace(";", " down;"), listed[2]]),
                backends="\n".join(f"server {{ listen {server}; return 200 {server}; }}" for server in self.servers),
            )
        )
        self.process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL)
        eventually(self.answers, "nginx answers")
        host, port = self.entry.split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=10)

    def answers(self) -> bool:
        host, port = self.entry.split(":")
        with socket.socket() as sock:
            return sock.connect_ex((host, int(port))) == 0

    def get(self, path: str) -> str:
        self.connection.request("GET", path)
        return self.connection.getresponse().read().decode()

    def close(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    server = Nginx(tmp_path)
    yield server
    server.close()


def test_keys_go_where_nginx_sends_them(nginx: Nginx) -> None:
    lb = Ketama(nginx.servers, compatible="nginx")
    keys = [f"user-{number}" for number in range(400)]
    assert {key: nginx.get(f"/ring?k={key}") for key in keys} == {key: lb.pick(key) for key in keys}
    assert len({lb.pick(key) for key in keys}) == 3


def test_keys_of_a_server_that_is_down_go_where_nginx_sends_them(nginx: Nginx) -> None:
    lb = Ketama(nginx.servers, compatible="nginx")
    lb.set_up(list(nginx.servers)[1], False)
    keys = [f"user-{number}" for number in range(400)]
    assert {key: nginx.get(f"/down?k={key}") for key in keys} == {key: lb.pick(key) for key in keys}
