"""A real browser over TLS: `python ci/browser.py` loads a page in headless Chromium, in HTTP/2 and in HTTP/3.

The page fetches resources one after the other and at once, sends a body, opens a WebSocket (in HTTP/2), and tells by
which protocols all of that came. Not part of the suite: the browser is a package of 80 MB (Debian: `chromium`).
"""

import asyncio
import base64
import contextlib
import hashlib
import http.server
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.asyncio.server import ServerConnection, serve

from tests.support.certificates import certificate
from tests.support.instance import running

ONE_BY_ONE, AT_ONCE, BODY_BYTES = 30, 40, 200_000
PATIENCE_S = 120.0
PAGE = f"""<html><body><script>
async function text(path, options) {{ return (await fetch(path, options)).text() }}
async function load() {{
  let bytes = 0
  for (let number = 0; number < {ONE_BY_ONE}; number++) bytes += (await text('/part/' + number)).length
  const all = await Promise.all([...Array({AT_ONCE}).keys()].map(number => text('/at-once/' + number)))
  const sent = await text('/upload', {{method: 'POST', body: 'x'.repeat({BODY_BYTES})}})
  const echoed = location.hash ? '' : await new Promise((settle, fail) => {{
    const socket = new WebSocket('wss://' + location.host + '/web-socket')
    socket.onopen = () => socket.send('hello')
    socket.onmessage = event => {{ settle(event.data); socket.close() }}
    socket.onerror = () => fail('no socket')
  }})
  const protocols = new Set(performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol))
  protocols.add(performance.getEntriesByType('navigation')[0].nextHopProtocol)
  return [bytes, all.length, sent, echoed, [...protocols].join('+')].join(' ')
}}
load().catch(String).then(found => text('/result', {{method: 'POST', body: found}}))
</script></body></html>""".encode()


results: queue.Queue[str] = queue.Queue()


class Pages(http.server.BaseHTTPRequestHandler):
    """The page, its resources, and the length of what is sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(PAGE if self.path == "/" else b"x" * 1000)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/result":
            results.put(body.decode())
        self.answer(str(len(body)).encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def echo_server() -> int:
    """The port of a WebSocket server that sends back what comes."""
    listening = socket.create_server(("127.0.0.1", 0))

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def run() -> None:
        async with serve(echo, sock=listening):
            await asyncio.Future()

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
    return int(listening.getsockname()[1])


def shown(folder: Path, url: str, key: str, *more: str) -> str:
    """What the page tells in the end."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder}", "--host-resolver-rules=MAP a.test 127.0.0.1"]
    command += [f"--ignore-certificate-errors-spki-list={key}", "--remote-debugging-port=0", *more, url]
    with (folder.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        return results.get(timeout=PATIENCE_S)
    except queue.Empty:
        return folder.with_suffix(".log").read_text(errors="replace")
    finally:
        process.kill()
        process.wait()


def main() -> int:
    """Returns the exit code."""
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name, contextlib.closing(pages.socket):
        folder = Path(name)
        files = certificate(folder, "a", "a.test")
        public = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        key = base64.b64encode(hashlib.sha256(der).digest()).decode()
        ports = {"pages": pages.server_address[1], "sockets": echo_server()}
        services = {
            name: {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}} for name, port in ports.items()
        }
        routers = {"pages": "PathPrefix(`/`)", "sockets": "Path(`/web-socket`)"}
        dynamic = {
            "http": {
                "routers": {name: {"rule": rule, "service": name, "tls": {}} for name, rule in routers.items()},
                "services": services,
            },
            "tls": {"certificates": [files.entry]},
        }
        wrong = 0
        with running(folder, dynamic, entry_point={"http3": {}}) as lb:
            lb.runs(1)
            # A browser opens a WebSocket over HTTP/2 where the server offers that, and never over HTTP/3.
            url = f"https://a.test:{lb.port}/"
            cases = {
                "h2": (f"{ONE_BY_ONE * 1000} {AT_ONCE} {BODY_BYTES} hello h2", [url]),
                "h3": (
                    f"{ONE_BY_ONE * 1000} {AT_ONCE} {BODY_BYTES}  h3",
                    [f"{url}#none", f"--origin-to-force-quic-on=a.test:{lb.port}"],
                ),
            }
            for protocol, (expected, (page, *more)) in cases.items():
                found = shown(folder / protocol, page, key, *more)
                print(f"{protocol}: {found}")
                wrong += found != expected
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
