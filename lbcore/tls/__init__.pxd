# TLS with OpenSSL's functions, called through pointers.
