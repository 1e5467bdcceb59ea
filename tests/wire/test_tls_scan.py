"""What a scanner finds: Mozilla's intermediate configuration by default, and none of the known weaknesses of TLS."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Files, authority, signed
from tests.support.wire import config_for, edge, serving

SCANNER = Path(sys.prefix) / "scanner" / "bin" / "python"  # `make scanner`
SUITES_1_2 = {
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
}
SUITES_1_3 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}


class Scan:
    """The findings of one run, by the scanner's names for its parts."""

    def __init__(self, options: dict[str, Any], files: Files, by: Files, report: Path) -> None:
        with serving() as server:
            dynamic = config_for(server.url)
            dynamic["http"]["routers"]["all"]["tls"] = {}
            dynamic["tls"] = {"certificates": [files.entry], "options": {"default": options}}
            with edge(dynamic) as lb:
                command = [str(SCANNER), "-m", "sslyze", "--mozilla_config=intermediate", "--early_data", "--resum"]
                command += [f"--certinfo_ca_file={by.certificate}", f"--json_out={report}"]
                command.append(f"localhost:{lb.address[1]}")
                self.run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        (found,) = json.loads(report.read_text())["server_scan_results"]
        self.parts = {name: part["result"] for name, part in found["scan_result"].items() if part is not None}

    def suites(self, version: str) -> set[str]:
        accepted = self.parts[f"{version}_cipher_suites"]["accepted_cipher_suites"]
        return {each["cipher_suite"]["name"] for each in accepted}


@pytest.fixture(scope="module")
def by(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def files(by: Files, tmp_path_factory: pytest.TempPathFactory) -> Files:
    more = ("extendedKeyUsage=serverAuth", "keyUsage=critical,digitalSignature", "authorityKeyIdentifier=keyid")
    return signed(tmp_path_factory.mktemp("certificates"), by, "localhost", "DNS:localhost", extensions=more)


@pytest.fixture(scope="module")
def usual(files: Files, by: Files, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    return Scan({}, files, by, tmp_path_factory.mktemp("report") / "usual.json")


def test_the_default_is_mozillas_intermediate_configuration(usual: Scan) -> None:
    assert "OK - Compliant" in usual.run.stdout, usual.run.stdout[-2000:]
    assert usual.run.returncode == 0, usual.run.stdout[-2000:]


def test_options_beside_it_are_found(files: Files, by: Files, tmp_path: Path) -> None:
    """The scan sees what is set: an older version."""
    options = {"minVersion": "VersionTLS11", "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"]}
    scan = Scan(options, files, by, tmp_path / "report.json")
    assert scan.suites("tls_1_1") == {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}
    assert "Not compliant" in scan.run.stdout
    assert scan.run.returncode != 0


def test_suites_and_versions(usual: Scan) -> None:
    """Without RC4, 3DES, CBC, export and finite fields nothing is there for FREAK, Logjam, Sweet32, POODLE, BEAST,
    Lucky 13 and DROWN."""
    for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert usual.suites(version) == set(), version
    assert usual.suites("tls_1_2") <= SUITES_1_2
    assert usual.suites("tls_1_3") == SUITES_1_3


def test_known_weaknesses(usual: Scan) -> None:
    parts = usual.parts
    assert parts["heartbleed"]["is_vulnerable_to_heartbleed"] is False
    assert parts["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"] is False
    assert parts["robot"]["robot_result"].startswith("NOT_VULNERABLE")
    assert parts["tls_compression"]["supports_compression"] is False  # CRIME
    assert parts["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"] is False
    assert parts["session_renegotiation"]["supports_secure_renegotiation"] is True
    assert parts["session_resumption"]["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
    assert parts["tls_1_3_early_data"]["supports_early_data"] is False
    assert parts["tls_extended_master_secret"]["supports_ems_extension"] is True
    assert parts["tls_fallback_scsv"]["supports_fallback_scsv"] is True
