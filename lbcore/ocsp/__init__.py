"""OCSP stapling: proofs that certificates are not revoked, fetched ahead of the handshakes that show them."""
