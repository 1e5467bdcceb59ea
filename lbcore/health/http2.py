"""A request over HTTP/2, for the health checks of servers that speak nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import h2.config
import h2.connection
import h2.events

from lbcore.health.stream import Reader, Writer


async def ask_http2(
    reader: Reader, writer: Writer, headers: Iterable[tuple[str, str]], body_limit: int
) -> tuple[int, dict[str, str], bytes] | str:
    """Status, headers and the beginning of the body of the answer, or why there is none.

    headers     of the request, pseudo-headers first; it has no body.
    body_limit  bytes of the answer's body that are waited for.
    """
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    connection.send_headers(1, list(headers), end_stream=True)
    status, found, body = 0, dict[str, str](), b""
    while True:
        writer.write(connection.data_to_send())
        data = await reader.read(16384)
        if not data:
            return "the server closed without an answer"
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                found = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in event.headers}
                status = int(found.pop(":status"))
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                return f"the request was reset with {event.error_code}"
            if status and (isinstance(event, h2.events.StreamEnded) or len(body) >= body_limit):
                return status, found, body
