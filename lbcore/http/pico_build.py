"""The declarations of picohttpparser for cffi. A build writes them to `_pico`, so that no process has to parse C."""

from __future__ import annotations

from cffi import FFI  # type: ignore[import-untyped]

ffi = FFI()
ffi.cdef("""
struct phr_header { const char *name; size_t name_len; const char *value; size_t value_len; };
int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len, const char **path,
                      size_t *path_len, int *minor_version, struct phr_header *headers, size_t *num_headers,
                      size_t last_len);
int phr_parse_response(const char *buf, size_t len, int *minor_version, int *status, const char **msg, size_t *msg_len,
                       struct phr_header *headers, size_t *num_headers, size_t last_len);
int phr_parse_headers(const char *buf, size_t len, struct phr_header *headers, size_t *num_headers, size_t last_len);
""")
ffi.set_source("lbcore.http._pico", None)
