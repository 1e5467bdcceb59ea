"""Where a system keeps the certificates of the authorities it trusts."""

from __future__ import annotations

import os
import ssl

# As distributions lay them out; the first file that is there has them all, and so have the folders.
FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")


def system_places() -> tuple[list[str], list[str]]:
    """Files and folders with the authorities' certificates; both empty: the system trusts nobody.

    SSL_CERT_FILE and SSL_CERT_DIR take the place of the system's, as everywhere.
    """
    file, folder = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    if file or folder:
        return [file] if file else [], folder.split(":") if folder else []
    own = ssl.get_default_verify_paths()
    files = [path for path in (own.cafile, *FILES) if path and os.path.isfile(path)][:1]
    folders = [path for path in (own.capath, *FOLDERS) if path and os.path.isdir(path)][:1]
    return files, [] if files else folders
