"""A reactor in an event loop of its own, for tests of what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from lbcore.transport.reactor import Reactor


def with_reactor(body: Callable[[Reactor], Coroutine[Any, Any, None]]) -> None:
    """Run `body` with a reactor, which is closed at its end."""

    async def main() -> None:
        reactor = Reactor(asyncio.get_running_loop())
        try:
            await body(reactor)
        finally:
            reactor.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
