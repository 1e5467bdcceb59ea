"""gRPC's health protocol over HTTP/2: one Check call for the server as a whole.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. The messages are so small that this file
encodes them itself: HealthCheckRequest is empty, field 1 of HealthCheckResponse is the status.
"""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events

from lbcore.health.stream import Reader, Writer

STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
EMPTY_MESSAGE = bytes(5)  # not compressed, length 0


async def ask_grpc(reader: Reader, writer: Writer, authority: str, scheme: str = "http") -> str:
    """The status that the server reports, or `missing: ` and the reason."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "lbcore"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, EMPTY_MESSAGE, end_stream=True)
    body, status = b"", ""
    while True:
        writer.write(connection.data_to_send())
        data = await reader.read(16384)
        if not data:
            return "missing: the server closed"
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                body += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                found = {bytes(name): bytes(value) for name, value in event.headers}
                status = found.get(b"grpc-status", b"").decode() or status
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                return f"missing: the call was reset with {event.error_code}"
            elif isinstance(event, h2.events.StreamEnded):
                return _status(body) if status == "0" else f"missing: the call ended with status {status or 'none'}"


def _status(body: bytes) -> str:
    """Field 1 of the message, a varint; absent means 0."""
    message = body[5:]
    if not message:
        return STATUSES[0]
    known = len(message) == 2 and message[0] == 0x08 and message[1] < len(STATUSES)
    return STATUSES[message[1]] if known else "missing: the answer is not understood"
