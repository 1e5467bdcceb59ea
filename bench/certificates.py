"""Certificates that proxies are measured with: made anew for each run, by OpenSSL, signed by themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEYS = {"ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("rsa:2048",)}


def make(folder: Path, kind: str) -> tuple[Path, Path]:
    """Files with a certificate for any name here, and its key. Kinds: see KEYS."""
    certificate, key = folder / f"{kind}.crt", folder / f"{kind}.key"
    command = ["openssl", "req", "-x509", "-newkey", *KEYS[kind], "-nodes", "-days", "30", "-subj", "/CN=bench.test"]
    command += ["-addext", "subjectAltName=DNS:bench.test,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl makes no certificate: {done.stderr}")
    key.chmod(0o600)
    return certificate, key
