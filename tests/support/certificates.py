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


def authority(folder: Path, name: str) -> Files:
    """A self-signed certificate that may sign others."""
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    command = ["openssl", "req", "-x509", *CURVE, "-nodes", "-keyout", str(files.key), "-out", str(files.certificate)]
    command += ["-days", "90", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"]
    command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"]
    subprocess.run(command, check=True, capture_output=True)
    return files


def signed(
    folder: Path,
    by: Files,
    name: str,
    *alternatives: str,
    days: int = 90,
    extensions: tuple[str, ...] = (),
    digest: str = "sha256",
) -> Files:
    """One that an authority vouches for. `alternatives`: `DNS:a.test`, `IP:127.0.0.1`, `URI:spiffe://a/b`."""
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    request, settings = folder / f"{name}.csr", folder / f"{name}.ext"
    command = ["openssl", "req", "-new", *CURVE, "-nodes", "-keyout", str(files.key), "-out", str(request)]
    subprocess.run([*command, "-subj", f"/CN={name}"], check=True, capture_output=True)
    lines = [f"subjectAltName={','.join(alternatives)}"] if alternatives else []
    settings.write_text("\n".join([*lines, *extensions]) + "\n")
    command = ["openssl", "x509", "-req", "-in", str(request), "-out", str(files.certificate), "-days", str(days)]
    command += ["-CA", str(by.certificate), "-CAkey", str(by.key), "-CAcreateserial", "-extfile", str(settings)]
    command.append(f"-{digest}")
    subprocess.run(command, check=True, capture_output=True)
    files.key.chmod(0o600)
    return files
