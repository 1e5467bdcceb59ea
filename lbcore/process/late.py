"""HTTP/3 on a UDP port that another process still has: it begins when that one has left the port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from lbcore.process.listeners import Listener

LOOK_S = 0.5  # between two attempts

_log = logging.getLogger("lbcore.process")


def is_any_late(listeners: Sequence[Listener]) -> bool:
    """Whether `bind_when_free` has anything to do."""
    return any(each.late for each in listeners)


async def bind_when_free(listeners: Sequence[Listener]) -> None:
    """Bind what is late as soon as its port is free, until cancelled."""
    for each in listeners:
        if each.late:
            text = "entry point %s: another process has %s: HTTP/3 begins when it has left that port"
            _log.warning(text, each.entry_point, each.address_text)
    while True:
        await asyncio.sleep(LOOK_S)
        for each in listeners:
            if each.late:
                with contextlib.suppress(OSError):
                    each.bind_late()
                    _log.info("entry point %s listens on %s", each.entry_point, each.address_text)
