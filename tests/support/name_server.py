"""An authoritative name server that takes updates, for a test: Debian's `knot`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.support.instance import eventually
from tests.support.ports import free_port

KEY_NAME, ALGORITHM, SECRET = "updates", "hmac-sha256", "c2VjcmV0IGZvciBhIHRlc3Qgb2YgdXBkYXRlcyAgICAg"
ZONE = """$ORIGIN test.
$TTL 60
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
* A 127.0.0.1
_acme-challenge.alias CNAME _acme-challenge.target
"""


@contextlib.contextmanager
def name_server(folder: Path, zone: str = "test") -> Iterator[str]:
    """Run one for a zone, all names of which are 127.0.0.1. Gives its address and port."""
    folder.mkdir()
    port = free_port()
    (folder / "test.zone").write_text(ZONE.replace("$ORIGIN test.", f"$ORIGIN {zone}."))
    (folder / "knot.conf").write_text(
        f"""server:
  rundir: "{folder}"
  listen: "127.0.0.1@{port}"
database:
  storage: "{folder}"
log:
- target: stderr
  any: info
key:
- id: {KEY_NAME}
  algorithm: {ALGORITHM}
  secret: {SECRET}
acl:
- id: ours
  key: {KEY_NAME}
  action: update
zone:
- domain: {zone}
  storage: "{folder}"
  file: test.zone
  acl: ours
"""
    )
    program = shutil.which("knotd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "knotd is not installed"
    with (folder / "knot.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(folder / "knot.conf")], stdout=log, stderr=log)

    def is_up() -> bool:
        question = dns.message.make_query(f"{zone}.", "SOA")
        with contextlib.suppress(dns.exception.DNSException, OSError):
            return bool(dns.query.udp(question, "127.0.0.1", 1, port).answer)
        return False

    try:
        eventually(is_up, "knot answers")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
