"""When the collector of cyclic garbage looks at all objects: once a day, and not while a configuration is made.

A configuration of 10,000 routers has half a million objects. To look at all of them takes a tenth of a second, in which
the loop waits, and Python would do it several times while the next configuration is made of as many. Configurations
and connections have no cycles: what is replaced, or closed, is freed at once. Young garbage is collected as always.

Every ten minutes the collector looks at what was made since it last did, and then sets aside what is left, by
`gc.freeze`: that is what changes of the configuration have added. Garbage among what was set aside is found once a day.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random

YOUNG = (2000, 10)  # objects and collections after which younger objects are looked at
NEVER = 1 << 30  # collections of younger objects after which Python would look at all
START_S = 30.0  # after which what a process has loaded and been given at its start is set aside, unseen
INTERVAL_S = 600.0
ROUNDS = 144  # of INTERVAL_S, after which all objects are looked at


async def collect_seldom() -> None:
    """Look at young objects every INTERVAL_S, and at all of them every ROUNDS times, until cancelled."""
    before = gc.get_threshold()
    gc.set_threshold(*YOUNG, NEVER)
    try:
        await asyncio.sleep(START_S)
        gc.freeze()
        for number in itertools.count(1):
            await asyncio.sleep(INTERVAL_S * random.uniform(0.9, 1.1))  # not all processes at once
            if number % ROUNDS == 0:
                gc.unfreeze()
            gc.collect()
            gc.freeze()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
