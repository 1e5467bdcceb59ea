"""Which labels may name files: the container of lbcore itself is found, and the daemon's socket is seen."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.config.static.providers import DockerProvider, SwarmProvider
from lbcore.provider.docker import DockerStore
from lbcore.provider.swarm import SwarmStore
from lbcore.provider.trust import Own, holds, own_container, trusted_socket

A, B = "a" * 63 + "1", "b" * 63 + "2"
LAYER = "/var/lib/docker/overlay2/0123/diff"
MADE = "\n".join(
    f"{n} 90 8:1 /var/lib/docker/containers/{A}/{name} /etc/{name} rw,relatime - ext4 /dev/sda1 rw"
    for n, name in enumerate(("resolv.conf", "hostname", "hosts"), 100)
)
ROOT = f"90 80 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/x:/y,upperdir={LAYER},workdir=/z"
LABEL = "traefik.http.middlewares.auth.basicauth.usersfile"


def own(folder: Path, cgroup: str = "0::/\n", mounts: str = "", environment: str = "") -> Own:
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(mounts)
    (folder / "containerenv").write_text(environment)
    return own_container(folder, folder / "containerenv")


@pytest.mark.parametrize(
    ("cgroup", "environment"),
    [
        (f"12:cpu,cpuacct:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/system.slice/containerd.service\n", ""),
        (f"0::/system.slice/docker-{A}.scope\n", ""),
        (f"0::/user.slice/user-1000.slice/user.slice/libpod-{A}.scope/container\n", ""),
        (f"0::/docker/{B}/docker/{A}\n", ""),  # a daemon that itself runs in a container
        ("0::/\n", f'engine="podman-4.3.1"\nname="lb"\nid="{A}"\nimage="x"\nimageid="{B}"\n'),
    ],
)
def test_the_own_container_is_known_by_its_group_or_its_runtime(tmp_path: Path, cgroup: str, environment: str) -> None:
    found = own(tmp_path, cgroup, environment=environment)
    assert found.among({A: {}, B: {}}) == A
    assert found.has(A)
    assert not found.has(B)


def test_the_own_container_is_known_by_what_the_daemon_mounts(tmp_path: Path) -> None:
    found = own(tmp_path, mounts=f"{ROOT}\n{MADE}\n")
    assert found == Own(shared=frozenset({A}), layer=LAYER)
    assert found.among({A: {}, B: {}}) == A
    assert found.among({B: {}}) is None


def test_who_shares_a_network_is_not_taken_for_the_other_one(tmp_path: Path) -> None:
    found = own(tmp_path, mounts=f"{ROOT}\n{MADE}\n")
    joined = {"HostConfig": {"NetworkMode": f"container:{A}"}}
    layered = {"GraphDriver": {"Data": {"UpperDir": LAYER}}}
    # The files of A's network are those of B, too, which may be lbcore.
    assert found.among({A: {}, B: joined}) is None
    assert found.among({A: {"Name": "/vpn"}, B: {"HostConfig": {"NetworkMode": "container:vpn"}}}) is None
    assert found.among({A: {}, B: {**joined, **layered}}) == B
    assert found.among({A: layered, B: joined}) == A


def test_outside_of_containers_there_is_none(tmp_path: Path) -> None:
    found = own(tmp_path, "0::/user.slice/session-1.scope\n", "29 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n")
    assert found == Own()
    assert found.among({A: {}, B: {"GraphDriver": None}}) is None
    assert own_container(tmp_path / "none", tmp_path / "none") == Own()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """The path of a socket."""
    path = str(tmp_path / "d.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        yield path


def test_only_the_socket_of_a_local_daemon_with_all_rights_gives_trust(
    daemon: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trusted_socket(f"unix://{daemon}") == daemon
    assert trusted_socket("tcp://127.0.0.1:2375") == trusted_socket("unix:///nowhere") == trusted_socket("") == ""
    os.chown(daemon, 4321, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert trusted_socket(f"unix://{daemon}") == daemon
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert trusted_socket(f"unix://{daemon}") == ""


def test_the_socket_is_known_at_both_of_its_paths() -> None:
    mounted: dict[str, Any] = {"Mounts": [{"Type": "bind", "Source": "/run/docker.sock"}]}
    assert holds(mounted, "/run/docker.sock")
    mounted["Mounts"][0]["Source"] = "/var/run/docker.sock"
    assert holds(mounted, "/run/docker.sock")
    assert not holds(mounted, "")
    mounted["Mounts"][0]["Type"] = "volume"
    assert not holds(mounted, "/run/docker.sock")
    assert not holds({"Mounts": None}, "/run/docker.sock")


def container(key: str, **more: Any) -> dict[str, Any]:
    return {
        "Id": key,
        "Name": f"/{key[0]}",
        "Config": {"Labels": {LABEL.replace("auth", f"auth-{key[0]}", 1): "/etc/users"}},
        "State": {"Status": "running"},
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {"Ports": {"80/tcp": None}},
        **more,
    }


def refused(store: DockerStore, *containers: dict[str, Any]) -> dict[str, str]:
    """The faults of the middlewares."""
    middlewares = store._reading({each["Id"]: each for each in containers}).config.http.middlewares
    return {name: "; ".join(each.faults) for name, each in middlewares.items()}


def test_labels_of_who_has_the_socket_may_name_files(daemon: str) -> None:
    store = DockerStore(DockerProvider(endpoint=f"unix://{daemon}"))
    found = refused(store, container(A, Mounts=[{"Type": "bind", "Source": daemon}]), container(B))
    assert found == {
        "auth-a": "",
        "auth-b": f"container b: {LABEL.replace('auth', 'auth-b', 1)}: labels may not name files or sockets of this "
        "machine; providers.docker.labelFiles: [/etc] allows those in a folder",
    }


def test_labels_of_the_own_container_may_name_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbcore.provider.docker.own_container", lambda: Own(exact=frozenset({B})))
    store = DockerStore(DockerProvider(endpoint="tcp://127.0.0.1:1"))
    first = container(A)
    found = refused(store, first, container(B))
    assert found["auth-b"] == ""
    assert found["auth-a"]


def test_what_was_trusted_is_not_once_it_cannot_be_told_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbcore.provider.docker.own_container", lambda: Own(shared=frozenset({A})))
    store = DockerStore(DockerProvider(endpoint="tcp://127.0.0.1:1"))
    own = container(A)
    assert refused(store, own)["auth-a"] == ""
    assert refused(store, own, container(B, HostConfig={"NetworkMode": f"container:{A}"}))["auth-a"]
    assert refused(store, own)["auth-a"] == ""


def service(**more: Any) -> dict[str, Any]:
    name = "traefik.http.services.s.loadbalancer.server.port"
    spec = {"Name": "s", "Labels": {LABEL: "/etc/users", name: "80"}, **more}
    return {"ID": "s1", "Spec": spec, "Endpoint": {}}


def test_services_of_a_swarm_are_trusted_in_the_same_way(daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbcore.provider.swarm.own_container", lambda: Own(shared=frozenset({B})))
    store = SwarmStore(SwarmProvider(endpoint=f"unix://{daemon}"))

    def is_refused(key: str, **more: Any) -> bool:
        running = {"State": "running", "ContainerStatus": {"ContainerID": key}}
        task = {"ID": "t1", "ServiceID": "s1", "Status": running}
        reading = store._reading([service(**more)], [task], [], [])
        return bool(reading.config.http.middlewares["auth"].faults)

    mounts = [{"Type": "bind", "Source": daemon, "Target": "/var/run/docker.sock"}]
    assert is_refused(A)
    assert not is_refused(B)
    assert not is_refused(A, TaskTemplate={"ContainerSpec": {"Mounts": mounts}})
