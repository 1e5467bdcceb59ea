"""A way to a server that may be shut: connections stay, and nothing comes through until it is opened, or cut off."""

from __future__ import annotations

import contextlib
import socket
import threading


class Valve:
    """Takes connections on a port of its own, or of a listener, and passes on what comes, to and fro. Open at first."""

    def __init__(self, port: int, listener: socket.socket | None = None) -> None:
        self._open = threading.Event()
        self._open.set()
        self._to = port
        self._socks: list[socket.socket] = []
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.endpoint = "{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """What comes from now on is kept back."""
        self._open.clear()

    def open(self) -> None:
        """What was kept back is passed on."""
        self._open.set()

    def cut(self) -> None:
        """End all connections; what was kept back is lost."""
        socks, self._socks = self._socks, []
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.open()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket()
            self._socks += [near, far]
            threading.Thread(target=self._connect, args=(near, far), daemon=True).start()

    def _connect(self, near: socket.socket, far: socket.socket) -> None:
        self._open.wait()
        with contextlib.suppress(OSError):
            far.connect(("127.0.0.1", self._to))
            threading.Thread(target=self._pass, args=(far, near), daemon=True).start()
            self._pass(near, far)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
