"""TLS by OpenSSL's functions, called by pointer: the library, certificates, and what a handshake is made with.

Nothing in here is loaded before a configuration asks for TLS.
"""
