"""TLS with OpenSSL's functions, called through pointers: the library, certificates, and the settings of handshakes.

These modules are imported only if a configuration uses TLS.
"""
