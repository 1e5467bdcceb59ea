"""Several instances that share a storage: one orders, all serve, and all answer challenges. A real CA, a real Redis."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.acme.redis_storage import RedisStorage, storage_of
from lbcore.acme.storage import Answers, StorageError, StoredAccount, StoredCertificate, StoredFailure
from lbcore.process.ticket_keys import keys_of
from tests.integration.test_redis import Server
from tests.support.ca import Authority, Between, authority, dynamic_for, served, static_for
from tests.support.certificates import certificate
from tests.support.command import run_command
from tests.support.instance import Backend, Instance, eventually, running
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with authority(tmp_path_factory.mktemp("ca")) as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("redis"))
    yield found
    found.stop()


@contextlib.contextmanager
def fleet(
    folder: Path, ca: Authority, dynamic: dict[str, Any], count: int = 2, tls: dict[str, Any] | None = None, **acme: Any
) -> Iterator[list[Instance]]:
    """Instances on the same ports: the CA comes to any of them. Each has a port of its own for its certificate, too.

    tls  a second resolver.
    """
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            (folder / str(number)).mkdir()
            static = static_for(ca, folder, **acme)
            static["certificatesResolvers"] |= {"tls": {"acme": tls}} if tls is not None else {}
            for point in static["entryPoints"].values():
                point["reusePort"] = True
            static["entryPoints"]["own"] = {"address": f"127.0.0.1:{free_port()}"}
            for router in dynamic["http"]["routers"].values():
                router["entryPoints"] = ["websecure", "own"]
            found.append(stack.enter_context(running(folder / str(number), dynamic, static=static, workers=1)))
        yield found


def own_port(instance: Instance) -> int:
    return int(instance.logged(r"entry point own listens on \S+:(\d+)")[1])


def serials(ca: Authority, instances: list[Instance], name: str) -> set[int]:
    """The certificates by which the instances serve a name; empty until all serve it by one of the CA's."""
    found = []
    for instance in instances:
        of_instance = Authority(**{**vars(ca), "tls_port": own_port(instance)})
        with contextlib.suppress(OSError):
            got = served(of_instance, name)
            if "Pebble" in got.issuer.rfc4514_string():
                found.append(got.serial_number)
    return set(found) if len(found) == len(instances) else set()


def ordered(instances: list[Instance]) -> int:
    return sum(len(re.findall(r"ordering a certificate for", instance.log)) for instance in instances)


def test_one_of_a_fleet_orders_and_all_answer(ca: Authority, server: Server, backend: Backend, tmp_path: Path) -> None:
    storage = f"redis://127.0.0.1:{server.port}/0#fleet"
    names = {"le": "a.test", "tls": "b.test", "own": "own.test"}
    dynamic = dynamic_for(backend, **{resolver: f"Host(`{name}`)" for resolver, name in names.items()})
    dynamic["http"]["routers"]["tls"]["tls"]["certResolver"] = "tls"
    dynamic["http"]["routers"]["own"]["tls"] = {}
    of_tls = ca.settings(tmp_path, storage=storage, tlsChallenge={})
    with fleet(tmp_path, ca, dynamic, storage=storage, httpChallenge={"entryPoint": "web"}, tls=of_tls) as instances:
        for name in ("a.test", "b.test"):
            assert len(eventually(lambda name=name: serials(ca, instances, name), f"all serve {name}")) == 1
        assert ordered(instances) == 2, "each certificate is ordered once, and no challenge fails"
        assert sum(instance.log.count("registering an account") for instance in instances) == 2, "one for a resolver"
        assert all("no certificate for" not in instance.log for instance in instances)
        stored = RedisStorage(storage)
        assert [entry.names for entry in stored.certificates("le")] == [("a.test",)]
        assert [entry.names for entry in stored.certificates("tls")] == [("b.test",)]
        assert stored.shared("")[1] == ({}, {}), "no answer is left behind"

        # What is imported goes to all of them.
        files = certificate(tmp_path, "own", "own.test")
        config = tmp_path / "0" / "static.yml"
        done = run_command(*("cert", "import", "--resolver", "le", "--config"), config, files.certificate, files.key)
        assert (done.returncode, done.stdout) == (0, f"{storage}: le: own.test, own\n")
        for instance in instances:
            of_instance = Authority(**{**vars(ca), "tls_port": own_port(instance)})

            def is_served(of_instance: Authority = of_instance) -> bool:
                return "CN=own" in served(of_instance, "own.test").subject.rfc4514_string()

            eventually(is_served, "it is served")


def test_instances_that_share_a_file_order_once(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    dynamic = dynamic_for(backend, one="Host(`a.test`)")
    challenge = {"provider": "exec", "propagation": {"disableChecks": True}}
    script = tmp_path / "update-dns"
    script.write_text(
        f"""#!/bin/sh
[ "$1" = present ] || exit 0
exec curl -sf -d '{{"host": "'"$2"'", "value": "'"$3"'"}}' http://127.0.0.1:{ca.dns_api_port}/set-txt
"""
    )
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EXEC_PATH", str(script))
        with fleet(tmp_path, ca, dynamic, dnsChallenge=challenge) as instances:
            assert len(eventually(lambda: serials(ca, instances, "a.test"), "all serve it", 90)) == 1
            assert ordered(instances) == 1
            assert len(json.loads((tmp_path / "acme.json").read_text())["le"]["Certificates"]) == 1


def test_a_storage_that_is_away_is_waited_for(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    server, between = Server(tmp_path), Between(ca)
    server.stop()

    def stop(path: str, content: Any) -> None:
        if path.startswith("/finalize-order/") and server.process.poll() is None:
            server.stop()

    between.answer = stop  # type: ignore[assignment]
    storage = f"redis://127.0.0.1:{server.port}/0"
    acme = {"storage": storage, "tlsChallenge": {}, "caServer": f"{between.url}/dir"}
    with fleet(tmp_path, ca, dynamic_for(backend, one="Host(`a.test`)"), 1, **acme) as [lb]:
        lb.logged(r"certificatesResolvers.le: redis://\S+ cannot be reached: .*: trying again")
        lb.runs(1)
        server.start()
        # It goes away again while the certificate is ordered, and comes back.
        assert eventually(lambda: serials(ca, [lb], "a.test"), "it is served")
        lb.logged(r"the certificate for a.test is served, but not stored: redis://\S+ cannot be reached")
        server.start()
        try:
            stored = RedisStorage(storage)
            eventually(lambda: stored.certificates("le"), "it is stored")
        finally:
            server.stop()
    between.close()


def test_a_redis_with_a_password_behind_tls(tmp_path: Path) -> None:
    files = certificate(tmp_path, "redis", "localhost")
    tls_port = free_port()
    more = ["--tls-port", str(tls_port), "--tls-auth-clients", "no"]
    more += ["--user", "edge", "on", ">secret", "~lbcore/*", "&*", "+@all"]
    more += ["--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
    server = Server(tmp_path, *more, "--tls-ca-cert-file", str(files.certificate))
    try:
        url = f"rediss://edge:secret@localhost:{tls_port}/0?ssl_ca_certs={files.certificate}#tls"
        storage = storage_of(url)
        storage.add_certificate("le", StoredCertificate(("a.test",), "C", "K"))
        assert [entry.names for entry in storage_of(url).certificates("le")] == [("a.test",)]
        assert storage.place == f"rediss://localhost:{tls_port}/0#tls"
        assert keys_of(url, 7) == keys_of(url, 7)
        for wrong in (url.replace("secret", "wrong"), url.replace(str(files.certificate), "/etc/ssl/cert.pem")):
            with pytest.raises(StorageError, match="cannot be reached") as error:
                storage_of(wrong).open()
            assert "wrong" not in str(error.value)
    finally:
        server.stop()


def test_the_storage_in_redis(server: Server) -> None:
    url = f"redis://127.0.0.1:{server.port}/0#unit"
    storage, other = storage_of(url), storage_of(url)
    storage.open()
    assert storage.account("le") is None
    before = storage.signature()
    account = StoredAccount("a@b.test", "https://ca/1", b"\x00key", {"status": "valid"})
    change = storage.set_account("le", account)
    assert other.account("le") == account
    assert (change.before, change.after) == (before, storage.signature())
    assert storage.signature() == other.signature() != before
    assert other.set_account("le", account).after == change.after

    def write(number: int) -> None:
        storage_of(url).add_certificate(f"r{number % 3}", StoredCertificate((f"{number}.test",), "C", "K"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(other.certificates(f"r{number}")) for number in range(3)) == 12
    other.set_failures("le", [StoredFailure(("x.test",), 3, 12.5)])
    assert storage.failures("le") == [StoredFailure(("x.test",), 3, 12.5)]
    # Of two, one holds; after its end the other can.
    hold = storage.hold("a")
    assert hold is not None
    assert other.hold("a") is None
    assert other.hold("b") is not None
    hold.keep()
    hold.release()
    hold.release()
    again = other.hold("a")
    assert again is not None
    server.client.delete("lbcore/acme/unit/hold/a")  # its time is over
    again.keep()
    again.release()
    with storage.holding("a"):
        assert other.hold("a") is None
    # Answers are those of the others.
    answers: Answers = ({"token": "text"}, {"a.test": ("C", "K")})
    version = storage.share("one", answers)
    assert other.shared("two") == (version, answers)
    assert storage.shared("one") == (version, ({}, {}))
    # Whose turn it is to give them: all that have said something of late.
    assert storage.are_acknowledged(version)
    other.acknowledge("two", version - 1)
    assert not storage.are_acknowledged(version)
    other.acknowledge("two", version)
    assert storage.are_acknowledged(version)
    other.acknowledge("three", version - 1)
    server.client.delete("lbcore/acme/unit/instances/three")  # it has been silent for long
    assert storage.are_acknowledged(version)
    assert storage.share("one", ({}, {})) == version + 1
    assert other.shared("two") == (version + 1, ({}, {}))


def test_urls_that_cannot_be_used(tmp_path: Path) -> None:
    for url in ("redis://127.0.0.1:port/0", "redis://:sec/ret@127.0.0.1/0"):
        with pytest.raises(StorageError, match="the URL cannot be used") as refused:
            storage_of(url)
        assert "sec'" not in str(refused.value)
    away = storage_of("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(StorageError) as error:
        away.open()
    assert error.value.is_away
    assert "secret" not in str(error.value)
    assert away.signature() == ()
