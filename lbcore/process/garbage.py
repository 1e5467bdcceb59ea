"""When the collector of cyclic garbage looks at all objects: seldom, and not while a configuration is made.

A configuration of 10,000 routers has half a million objects. To look at all of them takes a tenth of a second, in which
the loop waits, and Python would do it several times while the next configuration is made of as many. Configurations
have no cycles: the one that is replaced is freed at once. Young garbage is collected as always.
"""

from __future__ import annotations

import asyncio
import gc
import random

YOUNG = (2000, 10)  # objects and collections after which younger objects are looked at
NEVER = 1 << 30  # collections of younger objects after which Python would look at all
INTERVAL_S = 600.0


async def collect_seldom() -> None:
    """Look at all objects every INTERVAL_S, and otherwise not, until cancelled."""
    before = gc.get_threshold()
    gc.set_threshold(*YOUNG, NEVER)
    try:
        while True:
            await asyncio.sleep(INTERVAL_S * random.uniform(0.9, 1.1))  # not all processes at once
            gc.collect()
    finally:
        gc.set_threshold(*before)
