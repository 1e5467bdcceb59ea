"""Who writes statuses: the one that holds the lease, until it gives it back or is silent for too long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lbcore.provider.kubernetes import lease as leases
from lbcore.provider.kubernetes import status as statuses
from lbcore.provider.kubernetes.access import Access
from lbcore.provider.kubernetes.client import KubernetesClient, Thing
from lbcore.provider.kubernetes.lease import Lease
from lbcore.provider.kubernetes.status import StatusWriter
from lbcore.provider.kubernetes.wanted import Wanted
from lbcore.provider.kubernetes.watch import Kind, Snapshot
from tests.support.instance import becomes_true
from tests.support.kubernetes import Kubernetes, kubernetes

INGRESSES = Kind("Ingress", "ingresses", "networking.k8s.io")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    monkeypatch.setattr(leases, "RENEW_S", 0.05)
    monkeypatch.setattr(leases, "DURATION_S", 1)
    monkeypatch.setattr(statuses, "AGAIN_S", 0.05)
    with kubernetes() as found:
        yield found


class Instance:
    """One that may hold the lease, and writes."""

    def __init__(self, server: Kubernetes) -> None:
        self.client = KubernetesClient("kubernetesIngress", Access(server.url))
        self.lease = Lease(self.client, "default", "lb")
        self.changes = 0
        self.writer = StatusWriter(self.client, self.lease, self.note)
        self.task = asyncio.create_task(self.writer.run())

    def note(self) -> None:
        self.changes += 1

    def want(self, server: Kubernetes, text: str) -> None:
        def make(status: Thing) -> Thing:
            return {**status, "said": text}

        known = {("default", "i"): server.get("Ingress", "i")}
        self.writer.want([Wanted(INGRESSES, "default", "i", make)], Snapshot({"Ingress": known}))

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.client.close()


@contextlib.asynccontextmanager
async def instances(server: Kubernetes, count: int) -> AsyncIterator[list[Instance]]:
    found = [Instance(server) for _ in range(count)]
    try:
        yield found
    finally:
        for instance in found:
            await instance.end()


def said(server: Kubernetes) -> Any:
    return (server.get("Ingress", "i").get("status") or {}).get("said")


def put(server: Kubernetes, **status: Any) -> None:
    server.apply({"kind": "Ingress", "metadata": {"name": "i"}, "spec": {}, "status": status})


def writes(server: Kubernetes) -> int:
    return sum(1 for _, path, _ in server.written if path.endswith("/status"))


def test_one_of_several_writes_and_another_one_after_it(server: Kubernetes) -> None:
    async def test() -> None:
        put(server, other="stays")
        async with instances(server, 3) as found:
            await becomes_true(lambda: sum(each.lease.is_held for each in found) == 1)
            for number, each in enumerate(found):
                each.want(server, f"by {number}")
            (holder,) = (number for number, each in enumerate(found) if each.lease.is_held)
            await becomes_true(lambda: said(server) == f"by {holder}")
            assert writes(server) == 1 and server.get("Ingress", "i")["status"]["other"] == "stays"
            await found[holder].end()  # it gives the lease back
            assert any(thing and thing["spec"].get("holderIdentity") == "" for _, _, thing in list(server.written))
            await becomes_true(lambda: said(server) != f"by {holder}")
            assert sum(each.lease.is_held for each in found) == 1
            assert server.get("Lease", "lb")["spec"]["leaseTransitions"] == 1

    asyncio.run(test())


def test_a_holder_that_is_silent_loses_the_lease(server: Kubernetes) -> None:
    async def test() -> None:
        put(server)
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "2026-01-01T00:00:00.000000Z"}
        server.apply({"kind": "Lease", "metadata": {"name": "lb"}, "spec": spec})
        async with instances(server, 1) as (one,):
            one.want(server, "mine")
            # A time of long ago says nothing: clocks differ. It has to be seen not to change.
            await becomes_true(lambda: server.count("GET", "leases") > 2)
            assert not one.lease.is_held
            await becomes_true(lambda: said(server) == "mine")

    asyncio.run(test())


def test_nothing_is_written_that_is_there_already(server: Kubernetes) -> None:
    async def test() -> None:
        put(server, said="this")
        async with instances(server, 1) as (one,):
            await becomes_true(lambda: one.lease.is_held)
            one.want(server, "this")
            put(server, said="that")
            one.want(server, "this")
            await becomes_true(lambda: said(server) == "this")
            assert writes(server) == 1

    asyncio.run(test())


def test_what_may_not_be_written_is_a_problem_until_it_may(server: Kubernetes) -> None:
    async def test() -> None:
        put(server)
        server.forbidden.add("leases")
        async with instances(server, 1) as (one,):
            one.want(server, "x")
            await becomes_true(lambda: one.writer.problems)
            assert one.writer.problems[0].startswith("statuses are not written: Lease default/lb: it answers 403")
            assert one.changes == 1 and not writes(server)
            server.forbidden = {"ingresses"}
            await becomes_true(lambda: "cannot be written: it answers 403" in str(one.writer.problems))
            server.forbidden = set()
            await becomes_true(lambda: said(server) == "x")
            await becomes_true(lambda: not one.writer.problems)

    asyncio.run(test())


def test_a_lease_that_cannot_be_renewed_does_not_count(server: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(leases, "SURE_S", 0.5)
        async with instances(server, 1) as (one,):
            await becomes_true(lambda: one.lease.is_held)
            server.failing["leases"] = 500
            await becomes_true(lambda: not one.lease.is_held and one.lease.problem)
            server.failing.clear()
            await becomes_true(lambda: one.lease.is_held)

    asyncio.run(test())
