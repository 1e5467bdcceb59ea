"""A small HTTP server that says who it is and what it was asked: `python backend.py NAME PORT`.

`GET /.count` tells how many requests it has answered, as JSON; any other path, its name and the request as it came.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

answered = 0


async def serve(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer request after request on one connection."""
    global answered
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *headers = head.rstrip().split("\r\n")
            for header in headers:
                key, _, value = header.partition(":")
                if key.lower() == "content-length":
                    await reader.readexactly(int(value))
                elif key.lower() == "transfer-encoding":
                    while size := int(await reader.readline(), 16):
                        await reader.readexactly(size + 2)
                    await reader.readline()
            path = request.split(" ")[1]
            if path == "/.count":
                text = json.dumps({"name": name, "answered": answered})
            else:
                answered += 1
                text = "\n".join([f"answered by {name}: {request}", *(f"  {header}" for header in headers), ""])
            body = text.encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Backend: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (name.encode(), len(body), body)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(name: str, port: int) -> None:
    server = await asyncio.start_server(lambda reader, writer: serve(name, reader, writer), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C simply ends it
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
