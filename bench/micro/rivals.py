"""What else there is on PyPI for the same jobs, and in the standard library; each does its job as its own docs say.

A rival that is not installed is an error: `pip install '.[bench]'`. Not here: `ketama` 0.1.1, which ends the process
with a segmentation fault, and `pyketama`, which cannot be built any more.
"""

from __future__ import annotations

import random
import sys
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

Prepared = tuple[str, dict[str, Any]]  # a statement over `key`, and its names


@dataclass(frozen=True, slots=True)
class Rival:
    """`prepare` makes it for servers and weights. largest: servers up to which it can be made within seconds."""

    name: str
    job: str
    prepare: Callable[[list[str], list[int]], Prepared]
    largest: int = 65_536
    numbers: bool = False  # keys are numbers


def roundrobin_basic(servers: list[str], weights: list[int]) -> Prepared:
    import roundrobin

    return "pick()", {"pick": roundrobin.basic(servers)}


def roundrobin_weighted(servers: list[str], weights: list[int]) -> Prepared:
    import roundrobin

    return "pick()", {"pick": roundrobin.weighted(list(zip(servers, weights, strict=True)))}


def roundrobin_smooth(servers: list[str], weights: list[int]) -> Prepared:
    import roundrobin

    return "pick()", {"pick": roundrobin.smooth(list(zip(servers, weights, strict=True)))}


def roundrobin_stateful(servers: list[str], weights: list[int]) -> Prepared:
    import roundrobin

    return "pick()", {"pick": roundrobin.smooth_stateful(list(zip(servers, weights, strict=True)))}


def uhashring(servers: list[str], weights: list[int]) -> Prepared:
    from uhashring import HashRing

    return "ring.get_node(key)", {"ring": HashRing(nodes=servers)}


def hashring(servers: list[str], weights: list[int]) -> Prepared:
    from hashring import HashRing

    return "ring.get_node(key)", {"ring": HashRing(servers)}


def fastring(servers: list[str], weights: list[int]) -> Prepared:
    from fastring import HashRing

    ring = HashRing(virtual_nodes=160)
    for server in servers:
        ring.add_node(server)
    return "ring.get_node(key)", {"ring": ring}


def clandestined(servers: list[str], weights: list[int]) -> Prepared:
    from clandestined import RendezvousHash

    return "lb.find_node(key)", {"lb": RendezvousHash(nodes=servers)}


def hrw(servers: list[str], weights: list[int]) -> Prepared:
    import hrw

    names = {"choose": hrw.choose, "servers": [name.encode() for name in servers]}
    return "choose(key.encode(), servers, k=1)[0][0]", names


def jump(servers: list[str], weights: list[int]) -> Prepared:
    import jump

    return "servers[pick(key, n)]", {"pick": jump.hash, "n": len(servers), "servers": servers}


def guavahash(servers: list[str], weights: list[int]) -> Prepared:
    from guavahash import guava

    return "servers[pick(key, n)]", {"pick": guava, "n": len(servers), "servers": servers}


def random_choices(servers: list[str], weights: list[int]) -> Prepared:
    sums = list(accumulate(weights))
    return "pick(servers, cum_weights=sums)[0]", {"pick": random.choices, "servers": servers, "sums": sums}


def random_bisect(servers: list[str], weights: list[int]) -> Prepared:
    sums = list(accumulate(weights))
    names = {"servers": servers, "sums": sums, "bisect": bisect, "draw": random.random, "total": sums[-1]}
    return "servers[bisect(sums, draw() * total)]", names


RIVALS = [
    Rival("roundrobin_basic", "round robin", roundrobin_basic),
    Rival("roundrobin_weighted", "weighted round robin", roundrobin_weighted),
    Rival("roundrobin_smooth", "smooth weighted round robin", roundrobin_smooth),
    Rival("roundrobin_stateful", "smooth weighted round robin", roundrobin_stateful),
    Rival("uhashring", "ring", uhashring, 4096),
    Rival("hashring", "ring", hashring, 4096),
    Rival("clandestined", "rendezvous", clandestined, 4096),
    Rival("hrw", "rendezvous", hrw, 4096),
    Rival("jump_consistent_hash", "jump", jump, numbers=True),
    Rival("guavahash", "jump", guavahash, numbers=True),
    Rival("random_choices", "weighted random", random_choices),
    Rival("random_bisect", "weighted random", random_bisect),
]
if sys.version_info >= (3, 13):  # what it needs
    RIVALS.append(Rival("fastring", "ring", fastring))


def jump_hash(servers: list[str], weights: list[int]) -> Prepared:
    """Ours for those who keep the servers themselves, as the rivals' users do."""
    from lbcore.selection import jump_hash as pick

    return "servers[pick(key, n)]", {"pick": pick, "n": len(servers), "servers": servers}


# Which selector, or function, stands beside them.
FUNCTIONS = {"jump_hash": jump_hash}
OURS = {
    "round robin": ("SmoothWRR", "StaticStride"),
    "weighted round robin": ("SmoothWRR", "StaticStride"),
    "smooth weighted round robin": ("SmoothWRR",),
    "ring": ("Ketama",),
    "rendezvous": ("Rendezvous",),
    "jump": ("jump_hash",),
    "weighted random": ("RandomWeighted",),
}
