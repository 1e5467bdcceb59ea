"""`acme.json` goes from Traefik to lbcore and back: what one has ordered the other one serves, by the same account."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from tests.support.ca import Authority, authority, dynamic_for, get_when_issued, issued, served, static_for
from tests.support.instance import Backend, eventually, running

TRAEFIK = Path(sys.executable).with_name("traefik")
RULES = {"one": "Host(`a.test`) || Host(`b.test`)", "two": "Host(`c.test`)"}


def certificates(folder: Path) -> dict[str, x509.Certificate]:
    """Of the storage, by main name."""
    entries = json.loads((folder / "acme.json").read_text())["le"]["Certificates"] or []
    return {
        entry["domain"]["main"]: x509.load_pem_x509_certificate(base64.b64decode(entry["certificate"]))
        for entry in entries
    }


def account(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "acme.json").read_text())["le"]["Account"])


def orders(ca: Authority) -> int:
    return ca.log.count("Issued certificate serial")


def run_traefik(
    ca: Authority, folder: Path, static: dict[str, Any], dynamic: dict[str, Any], *names: str
) -> None:
    """Until it serves all names by certificates of the CA."""
    file = folder / "traefik.yml"
    file.write_text(
        yaml.safe_dump({**static, "providers": {"file": {"filename": str(folder / "dyn.yml")}}})
    )
    (folder / "dyn.yml").write_text(yaml.safe_dump(dynamic))
    with (folder / "traefik.log").open("wb") as log:
        process = subprocess.Popen([str(TRAEFIK), f"--configFile={file}"], stdout=log, stderr=log)
    try:

        def is_served() -> bool:
            try:
                found = [served(ca, name) for name in ("a.test", "c.test", *names)]
                return all("Pebble" in certificate.issuer.rfc4514_string() for certificate in found)
            except OSError:
                return False

        eventually(is_served, "Traefik serves")
    finally:
        process.terminate()
        process.wait()


def test_a_move_from_traefik_and_back_orders_nothing(tmp_path: Path) -> None:
    backend = Backend("served")
    with authority(tmp_path / "ca") as ca:
        static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"})
        dynamic = dynamic_for(backend, **RULES)
        run_traefik(ca, tmp_path, static, dynamic)
        before, known, count = certificates(tmp_path), account(tmp_path), orders(ca)
        assert set(before) == {"a.test", "c.test"}

        with running(tmp_path, dynamic, static=static) as instance:
            for name in ("a.test", "b.test", "c.test"):
                assert get_when_issued(ca, name).endswith("served")
            assert served(ca, "b.test") == before["a.test"]
            assert orders(ca) == count
            # Another name is ordered by the same account.
            instance.write(dynamic_for(backend, three="Host(`d.test`)", **RULES))
            assert get_when_issued(ca, "d.test").endswith("served")
            eventually(lambda: "d.test" in certificates(tmp_path), "it is stored")
        after = certificates(tmp_path)
        assert account(tmp_path) == known
        assert {name: after[name] for name in before} == before
        assert orders(ca) == count + 1

        run_traefik(ca, tmp_path, static, dynamic_for(backend, three="Host(`d.test`)", **RULES))
        assert orders(ca) == count + 1
        assert certificates(tmp_path) == after
    backend.close()


def test_traefik_reads_what_lbcore_has_made(tmp_path: Path) -> None:
    backend = Backend("served")
    with authority(tmp_path / "ca") as ca:
        static = static_for(ca, tmp_path, tlsChallenge={})
        dynamic = dynamic_for(backend, **RULES)
        with running(tmp_path, dynamic, static=static):
            for name in ("a.test", "c.test"):
                assert get_when_issued(ca, name).endswith("served")
            eventually(lambda: len(certificates(tmp_path)) == 2, "both are stored")
        known, count = account(tmp_path), orders(ca)
        run_traefik(ca, tmp_path, static, dynamic)
        assert orders(ca) == count
        more = dynamic_for(backend, three="Host(`d.test`)", **RULES)
        run_traefik(ca, tmp_path, static, more, "d.test")
        assert orders(ca) == count + 1  # by the account that lbcore has made
        assert account(tmp_path)["Registration"]["uri"] == known["Registration"]["uri"]

        # And a new start of lbcore orders nothing, either.
        with running(tmp_path, dynamic, static=static):
            assert issued(ca, "c.test") == certificates(tmp_path)["c.test"]
        assert orders(ca) == count + 1
    backend.close()
