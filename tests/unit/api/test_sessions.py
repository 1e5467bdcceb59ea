"""Lists of sessions: one at a time, with rests, and not without end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from lbcore.api import sessions as sessions_module
from lbcore.api.refused import RefusedError
from lbcore.api.runtime import Runtime
from lbcore.api.sessions import MOST_WAITING, Turns
from lbcore.config.static import StaticConfig
from lbcore.state.region import Region

STATIC = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}, "api": {}})
TAKES_S = 0.02


def test_whoever_asks_for_many_lists_gets_them_one_after_the_other() -> None:
    """Workers look at their sessions in the loop that serves their clients."""
    asked: list[tuple[float, float]] = []

    async def answer(wanted: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[int]]:
        began_s = time.monotonic()
        await asyncio.sleep(TAKES_S)
        asked.append((began_s, time.monotonic()))
        if len(asked) == 2:
            raise OSError
        return [{"found": 0, "sessions": []}], []

    async def test() -> None:
        turns = Turns(Runtime(STATIC, Region.create(1), ask_workers=answer))
        lists = [asyncio.create_task(turns.list([])) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="16 lists of sessions are asked for already") as refused:
            await turns.list([])
        assert refused.value.status == 503
        lists[5].cancel()
        found = await asyncio.gather(*lists, return_exceptions=True)
        assert [type(each) for each in found].count(dict) == MOST_WAITING - 2
        assert len(asked) == MOST_WAITING - 1
        for (began_s, ended_s), (next_s, _) in pairwise(asked):
            rest_s = min(sessions_module.LONGEST_REST_S, sessions_module.REST * (ended_s - began_s))
            assert next_s - ended_s >= 0.9 * rest_s
        with pytest.raises(RefusedError, match="no such filter: x"):
            await turns.list([("x", "")])
        assert (await turns.list([]))["found"] == 0, "none of them is counted as waiting any more"

    asyncio.run(asyncio.wait_for(test(), 60))
