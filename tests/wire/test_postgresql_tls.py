"""PostgreSQL and `psql` with TLS, on both sides of lbcore: it ends there, is passed through, or is not there."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Files, certificate
from tests.support.wire import edge
from tests.wire.test_tcp import postgres_in

IS_ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@dataclass
class Database:
    """One that speaks TLS, too, as `past.test`."""

    port: int
    files: Files


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="lbcore-postgres-") as place:
        files = certificate(Path(place), "past", "past.test")
        settings = {"ssl": "on", "ssl_cert_file": files.certificate, "ssl_key_file": files.key}
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        with postgres_in(Path(place), *options) as (port, _):
            yield Database(port, files)


def asked(port: int, query: str, **settings: object) -> str:
    """What psql says: the answer, or why there is none."""
    words = {"hostaddr": "127.0.0.1", "port": port, "user": "postgres", "connect_timeout": 30, **settings}
    command = ["psql", " ".join(f"{name}={value}" for name, value in words.items()), "-Atc", query]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout.strip() or done.stderr.strip()


def test_tls_ends_here_passes_through_or_is_not_there(database: Database, tmp_path: Path) -> None:
    here = certificate(tmp_path, "here", "here.test")
    routers: dict[str, dict[str, Any]] = {
        "here": {"rule": "HostSNI(`here.test`)", "tls": {}},
        "past": {"rule": "HostSNI(`past.test`)", "tls": {"passthrough": True}},
        "plain": {"rule": "HostSNI(`*`)"},
    }
    service = {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{database.port}"}]}}
    dynamic = {
        "tcp": {
            "routers": {name: {**router, "service": "database"} for name, router in routers.items()},
            "services": {"database": service},
        },
        "tls": {"certificates": [here.entry]},
    }
    with edge(dynamic) as lb:
        port = lb.address[1]
        assert isinstance(port, int)
        verified = {"sslmode": "verify-full"}
        for _ in range(2):
            trusts = {"sslrootcert": here.certificate}
            assert asked(port, IS_ENCRYPTED, host="here.test", **verified, **trusts) == "f", "ended here"
            trusts = {"sslrootcert": database.files.certificate}
            assert asked(port, IS_ENCRYPTED, host="past.test", **verified, **trusts) == "t", "ended at the database"
            assert asked(port, IS_ENCRYPTED, host="none.test", sslmode="disable") == "f"
        trusts = {"sslrootcert": here.certificate}
        assert "certificate verify failed" in asked(port, IS_ENCRYPTED, host="past.test", **verified, **trusts)
        rows = "select repeat('x', 100) from generate_series(1, 20000)"
        assert len(asked(port, rows, host="here.test", sslmode="require").splitlines()) == 20000
