"""The binding of picohttpparser, which is taken as compiled code from the package `gunicorn_h1c` through cffi (`pico_build`). No I/O.

That build is maintained, uses SIMD and is strict about requests: every line must end with CRLF. The pointers are resolved at
import, so the parser is called as a plain C function.
"""

from libc.stdint cimport uintptr_t

from lbcore.http.head cimport Header

from lbcore.http._pico import ffi

def _resolve() -> tuple:
    """Addresses of the three parsers. Raises ImportError when the library or a symbol is missing or laid out differently."""
    try:
        from gunicorn_h1c import _parser
    except ImportError as exc:
        raise ImportError("lbcore needs the package gunicorn_h1c, which carries picohttpparser") from exc
    if ffi.sizeof("struct phr_header") != sizeof(Header):
        raise ImportError("picohttpparser's header struct has another layout than lbcore's")
    library = ffi.dlopen(_parser.__file__)
    # The library object must outlive the pointers into it.
    addresses = []
    for name in ("phr_parse_request", "phr_parse_response", "phr_parse_headers"):
        try:
            addresses.append(int(ffi.cast("uintptr_t", ffi.addressof(library, name))))
        except AttributeError as exc:
            raise ImportError(f"{_parser.__file__} does not export {name}: install gunicorn_h1c 0.6.10 or later") from exc
    return library, addresses


_library, _addresses = _resolve()
pico_parse_request = <parse_request_fn><uintptr_t>_addresses[0]
pico_parse_response = <parse_response_fn><uintptr_t>_addresses[1]
pico_parse_headers = <parse_headers_fn><uintptr_t>_addresses[2]
