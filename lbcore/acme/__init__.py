"""Certificates that are ordered: by whom, when, and where they are kept. The protocol is that of the library `acme`."""
