"""A Lease of Kubernetes: of several instances, the one that holds it writes, and the others do not.

As all clients do it: a holder renews it; another one takes it over when it has not changed for its duration, by its own
clock, so that clocks need not agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lbcore.provider.kubernetes.client import KubernetesClient, Thing
from lbcore.provider.kubernetes.core import LEASES
from lbcore.provider.web import AnswerError

DURATION_S = 15  # a lease that is not renewed for so long is free
RENEW_S = 5.0  # interval of renewals, and of looks at another's lease
SURE_S = 10.0  # a holder that could not renew it for so long does not count on it any more
RELEASE_S = 0.5  # longest wait when it is given back at the end


class Lease:
    """One lease. `problem`: why it cannot be had; empty: it can, or another one has it."""

    def __init__(self, client: KubernetesClient, namespace: str, name: str) -> None:
        self.problem = ""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._me = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self._seen: Any = None  # what the lease of another one said, and ...
        self._seen_at = 0.0  # ... when that was first seen
        self._sure_until = float("-inf")

    @property
    def place(self) -> str:
        return f"{self._namespace}/{self._name}"

    @property
    def is_held(self) -> bool:
        return asyncio.get_running_loop().time() < self._sure_until

    async def run(self, changed: Callable[[], None]) -> None:
        """Hold it whenever it is free, until cancelled. `changed` is called when that, or the problem, is another."""
        try:
            while True:
                before = self.is_held, self.problem
                try:
                    async with asyncio.timeout(SURE_S):
                        await self._turn()
                    self.problem = ""
                except (AnswerError, TimeoutError) as error:
                    self.problem = str(error) or "it does not answer"
                if (self.is_held, self.problem) != before:
                    changed()
                await asyncio.sleep(RENEW_S * random.uniform(0.8, 1.2))
        finally:
            if self.is_held:
                self._sure_until = float("-inf")
                with contextlib.suppress(AnswerError, TimeoutError):
                    async with asyncio.timeout(RELEASE_S):
                        await self._release()

    async def _find(self) -> Thing | None:
        try:
            return await self._client.get(LEASES.path(self._namespace, self._name))
        except AnswerError as error:
            if error.status == 404:
                return None
            raise

    async def _turn(self) -> None:
        """Take or renew it, if it is mine or free."""
        now = asyncio.get_running_loop().time()
        found = await self._find()
        spec: dict[str, Any] = (found or {}).get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._me):
            said = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
            if said != self._seen:
                self._seen, self._seen_at = said, now
            if now - self._seen_at < int(spec.get("leaseDurationSeconds") or DURATION_S):
                self._sure_until = float("-inf")
                return
        stamp = _now()
        mine = {
            "holderIdentity": self._me,
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": spec.get("acquireTime") or stamp if holder == self._me else stamp,
            "renewTime": stamp,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (found is not None and holder != self._me),
        }
        if await self._write(found, mine):
            self._sure_until = now + SURE_S
        else:
            self._sure_until = float("-inf")  # another one was faster

    async def _release(self) -> None:
        found = await self._find()
        if found is not None and (found.get("spec") or {}).get("holderIdentity") == self._me:
            await self._write(found, {**found["spec"], "holderIdentity": "", "renewTime": _now()})

    async def _write(self, found: Thing | None, spec: Thing) -> bool:
        """Whether it was written as it was read: nobody has changed it meanwhile."""
        metadata = {"name": self._name, "namespace": self._namespace} if found is None else found["metadata"]
        version = f"{LEASES.group}/{LEASES.version}"
        thing = {"apiVersion": version, "kind": LEASES.name, "metadata": metadata, "spec": spec}
        if found is None:
            status, answer = await self._client.write("POST", LEASES.path(self._namespace), thing)
        else:
            status, answer = await self._client.write("PUT", LEASES.path(self._namespace, self._name), thing)
        if status in (200, 201):
            return True
        if status in (404, 409):
            return False
        raise AnswerError(f"it answers {status}: {answer.get('message')}", status)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
