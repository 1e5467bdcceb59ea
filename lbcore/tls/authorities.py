"""Where a system stores the certificates of its trusted authorities."""

from __future__ import annotations

import os
import ssl

# The places in common distributions. The first file that exists has all authorities, and so have the folders.
FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")


def system_places() -> tuple[list[str], list[str]]:
    """Files and folders with the certificates of authorities; both empty: the system has no trusted authority.

    SSL_CERT_FILE and SSL_CERT_DIR replace the places of the system, as in OpenSSL and Go.
    """
    file, folder = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    if file or folder:
        return [file] if file else [], folder.split(":") if folder else []
    own = ssl.get_default_verify_paths()
    files = [path for path in (own.cafile, *FILES) if path and os.path.isfile(path)][:1]
    folders = [path for path in (own.capath, *FOLDERS) if path and os.path.isdir(path)][:1]
    return files, [] if files else folders
