"""A process of its own, whose tunnels find no pipe at the moment that counts: prints what came through one of them."""

from __future__ import annotations

import resource
import socket
import threading
from pathlib import Path
from queue import SimpleQueue

from tests.support.instance import eventually
from tests.support.wire import Peer, Server, edge

PIECE = bytes(8192)


def queues() -> dict[tuple[int, int], tuple[int, int]]:
    """By local and remote port: bytes that were sent and not acknowledged, and bytes that were not read."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, waiting, *_ = line.split()
        unsent, unread = (int(count, 16) for count in waiting.split(":"))
        found[int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)] = unsent, unread
    return found


def main() -> None:
    peers: SimpleQueue[Peer] = SimpleQueue()
    end = threading.Event()

    def hold(peer: Peer) -> None:
        peers.put(peer)
        end.wait()

    server = Server(hold)
    server._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # both sides of it hold little
    server._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    service = {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{server.port}"}]}}
    router = {"rule": "HostSNI(`*`)", "service": "all"}
    with edge({"tcp": {"routers": {"all": router}, "services": {"all": service}}}) as lb:
        client = lb.client()
        client.send(bytes(200_000))  # spliced: the pool has a pipe afterwards
        peer = peers.get()
        peer.exactly(200_000)
        other = lb.client()
        other.fill(bytes(100_000_000))  # takes it, and keeps it
        lb.settle()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        client.send(PIECE)  # no pipe is to be had for it, nor sought for those that follow
        peer.exactly(len(PIECE))
        lb.settle()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        port = peer.sock.getpeername()[1]
        ports = lb.address[1], client.sock.getsockname()[1]

        def is_full(sent: int) -> bool:
            """Whether some of what was sent waits in the proxy itself, which has read all of it."""
            known = queues()
            return known[ports][1] == 0 and sent > known[port, server.port][0] + known[server.port, port][1]

        sent = 0
        while not is_full(sent):
            client.send(PIECE)
            sent += len(PIECE)
            lb.settle()
            eventually(lambda: queues()[ports][1] == 0, "all of it was read")
        peer.exactly(sent)
        lb.settle()
        client.send(b"and the rest")
        print(peer.exactly(12).decode(), flush=True)
        end.set()
        other.close()
        client.close()


if __name__ == "__main__":
    main()
