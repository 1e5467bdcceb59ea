"""The clock of the system is set while lbcore runs: handshakes, sessions, and the orders of certificates go on.

A test drives the clock by `libfaketime`, for the supervisor and its workers; the monotonic clock stays as it is.
"""

from __future__ import annotations

import glob
import re
import ssl
import time
from pathlib import Path

import pytest

from tests.integration.test_tls import asked, connected, context, secured
from tests.support.ca import authority, dynamic_for, get_when_issued, issued, static_for
from tests.support.certificates import certificate
from tests.support.instance import Backend, eventually, running

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), "")
JUMPS = ("-2d", "+40d", "+0", "-400d", "+300d", "+0")


class Clock:
    """The time that a program sees, by a file."""

    def __init__(self, folder: Path) -> None:
        assert LIBRARY, "the package faketime is missing: see `make system`"
        self._file = folder / "clock"
        self.set("+0")

    def set(self, offset: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self._file)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


def test_handshakes_and_sessions_go_on(tmp_path: Path, backends: list[Backend], clock: Clock) -> None:
    files = certificate(tmp_path, "a", "a.test")
    with running(tmp_path, secured(files, *backends), environ=clock.environ) as lb:
        lb.runs(1)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            trust = context()
            trust.maximum_version = version
            with connected(lb.port, trust) as stays:
                assert asked(stays) == b"200"
                session = stays.session
                for jump in JUMPS:
                    clock.set(jump)
                    for _ in range(4):
                        with connected(lb.port, trust, session=session) as sock:
                            assert asked(sock) == b"200"
                            session = sock.session or session
                    assert asked(stays) == b"200"
                # With the clock right again, sessions are resumed as before.
                with connected(lb.port, trust) as sock:
                    assert asked(sock) == b"200"
                    session = sock.session
                with connected(lb.port, trust, session=session) as sock:
                    assert asked(sock) == b"200"
                    assert sock.session_reused
        assert "internal error" not in lb.log
        assert "Traceback" not in lb.log


def test_a_failed_order_waits_as_long_as_it_was_to(tmp_path: Path, backends: list[Backend], clock: Clock) -> None:
    away = {
        "caServer": "https://127.0.0.1:1/dir",
        "storage": str(tmp_path / "acme.json"),
        "tlsChallenge": {},
        "retryDelay": "1s",
    }
    static = {
        "entryPoints": {"websecure": {"address": "127.0.0.1:0"}},
        "certificatesResolvers": {"le": {"acme": away}},
    }
    dynamic = dynamic_for(backends[0], one="Host(`a.test`)")
    with running(tmp_path, dynamic, static=static, environ=clock.environ) as lb:
        tried = r"no certificate for a.test, trying again in"
        lb.logged(tried)
        clock.set("-2d")
        lb.logged(r"the clock was set back by 48 h")
        lb.logged(tried, 2)  # not two days later


def test_a_certificate_that_is_always_due_is_not_ordered_without_end(
    tmp_path: Path, backends: list[Backend], clock: Clock
) -> None:
    with authority(tmp_path / "ca", lasts_s=3 * 86400) as ca:
        static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"})
        dynamic = dynamic_for(backends[0], one="Host(`a.test`)")
        with running(tmp_path, dynamic, static=static, environ=clock.environ) as lb:
            first = issued(ca, "a.test").serial_number
            clock.set("+60h")
            # The CA's clock is another: what it issues now is due as well.
            lb.logged(r"the clock was set ahead by 60 h")
            lb.logged(r"the new certificate for a.test is due for renewal already, next one in \d")
            ordered = len(re.findall("ordering a certificate for a.test", lb.log))
            give_up = time.monotonic() + 3
            while time.monotonic() < give_up:
                assert get_when_issued(ca, "a.test")
            assert len(re.findall("ordering a certificate for a.test", lb.log)) == ordered
            second = issued(ca, "a.test").serial_number
            assert second != first
            clock.set("+0")
            lb.logged(r"the clock was set back by 60 h")
            eventually(lambda: issued(ca, "a.test").serial_number == second, "the certificate stays")
