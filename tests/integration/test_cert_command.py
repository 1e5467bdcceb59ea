"""`lbcore cert`, and the choice of the library that speaks TLS, as a user meets them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lbcore.tls.library import find
from tests.support.certificates import certificate, signed


def lbcore(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lbcore", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_certificates_of_files(tmp_path: Path) -> None:
    own = certificate(tmp_path, "own", "a.test", "b.test")
    old = signed(tmp_path, own, "old", "DNS:old.test", days=-1)
    found = lbcore("cert", "list", str(own.certificate))
    assert found.returncode == 0
    assert "89 days  ECDSA 256  a.test, b.test" in found.stdout
    found = lbcore("cert", "list", str(own.certificate), str(old.certificate))
    assert found.returncode == 2
    assert "expired" in found.stdout
    found = lbcore("cert", "show", str(own.certificate))
    assert found.returncode == 0
    assert "sans: a.test, b.test\n" in found.stdout
    assert "PRIVATE" not in found.stdout


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"])
def test_files_that_hold_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.pem"
    file.write_text(text)
    found = lbcore("cert", "list", str(file))
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
    assert "x.pem" in found.stderr


def test_an_instance_that_is_not_there() -> None:
    found = lbcore("cert", "list", "--api", "http://127.0.0.1:9")
    assert found.returncode == 1
    assert "no answer from" in found.stderr


@pytest.mark.parametrize("which", ["bundled", "system"])
def test_the_library_is_chosen(tmp_path: Path, which: str) -> None:
    origins = subprocess.run(
        [sys.executable, "-c", f"from lbcore.tls.library import *; choose({which!r}); print(find().origin)"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    config = tmp_path / "static.yml"
    config.write_text(f"entryPoints: {{web: {{address: '127.0.0.1:0'}}}}\nlbcore: {{tls: {{library: {which}}}}}\n")
    found = lbcore("check", str(config))
    if origins.returncode:
        assert found.returncode == 1
        return
    assert origins.stdout.strip() == which
    assert found.returncode == 0, found.stderr
    assert f"({which})" in found.stdout


def test_the_library_of_a_path(tmp_path: Path) -> None:
    known = find()
    script = (
        "import re; from lbcore.tls.library import find; find();"
        "print(re.findall(r'(/\\S*libssl\\S*)', open('/proc/self/maps').read())[0])"
    )
    path = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    config = tmp_path / "static.yml"
    config.write_text(f"entryPoints: {{web: {{address: '127.0.0.1:0'}}}}\nlbcore: {{tls: {{library: {path}}}}}\n")
    found = lbcore("check", str(config))
    assert found.returncode == 0, found.stderr
    assert f"TLS uses {known.version} ({path})" in found.stdout


def test_a_library_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "static.yml"
    config.write_text("entryPoints: {web: {address: '127.0.0.1:0'}}\nlbcore: {tls: {library: /nowhere/libssl.so}}\n")
    found = lbcore("check", str(config))
    assert found.returncode == 1
    assert "tls.library: /nowhere/libssl.so is not a file" in found.stderr


def test_tls_of_a_dynamic_file_is_not_taken_for_a_static_one(tmp_path: Path) -> None:
    dynamic = tmp_path / "dynamic.yml"
    dynamic.write_text("tls: {options: {default: {minVersion: VersionTLS13}}}\n")
    assert lbcore("check", str(dynamic)).returncode == 0
    static = tmp_path / "static.yml"
    static.write_text("entryPoints: {web: {address: '127.0.0.1:0'}}\ntls: {options: {}}\n")
    found = lbcore("check", str(static))
    assert "tls" in found.stderr
    assert found.returncode == 0
