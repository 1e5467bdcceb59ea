"""Certificates for a test, made by the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("-newkey", "rsa:2048")


@dataclass(frozen=True)
class Files:
    """A certificate and its key."""

    certificate: Path
    key: Path

    @property
    def entry(self) -> dict[str, str]:
        """As `tls.certificates` lists it."""
        return {"certFile": str(self.certificate), "keyFile": str(self.key)}

    @property
    def texts(self) -> dict[str, str]:
        """The same by their PEM."""
        return {"certFile": self.certificate.read_text(), "keyFile": self.key.read_text()}


def certificate(folder: Path, name: str, *hosts: str, key: tuple[str, ...] = CURVE, days: int = 90) -> Files:
    """A self-signed one for `hosts` in the files `name.pem` and `name.key`."""
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    names = ",".join(f"DNS:{host}" for host in hosts)
    command = ["openssl", "req", "-x509", *key, "-nodes", "-keyout", str(files.key), "-out", str(files.certificate)]
    command += ["-days", str(days), "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
    subprocess.run(command, check=True, capture_output=True)
    files.key.chmod(0o600)
    return files
