# TLS by OpenSSL's functions, called by pointer.
