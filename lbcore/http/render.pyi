def rewrite_request(
    wire: bytes,
    *,
    client: bytes = b"192.0.2.1",
    trusted: bool = False,
    append_for: bool = True,
    encrypted: bool = False,
    pass_host: bool = True,
    server_authority: bytes = b"10.0.0.1:80",
    server_name: bytes = b"edge",
    prefix: bytes = b"",
) -> bytes: ...
def rewrite_response(
    wire: bytes, *, client_version: int = 1, keep_alive: bool = True, chunked: bool = False, date: bytes = b"now"
) -> bytes: ...
