"""Subsetting: each client uses a few of many servers, the same ones as long as they exist. No I/O.

A client uses the k servers with the smallest hash, XXH64 of the name with the client's seed (rendezvous hashing; gRPC A68, random
subsetting). Clients need not know each other, nor have numbers. Adding or removing a server changes at most one server of a
client's subset. The number of clients of a server is binomial: with c clients and n servers it is c * k / n, with the square root
of that as standard deviation; for 1,000 clients with 10 of 100 servers each, 100 +- 10.
"""

from _collections_abc import Mapping

from libc.stdint cimport uint64_t

from lbcore.selection.hashing cimport HASH_XXH64, hash_key, hash_server, key_value
from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper


def subset(servers, k: int, client):
    """The k servers that a client uses, or all if there are no more, in their order in `servers`.

    servers  hashable objects with names (str, bytes, int, or with a `__str__`); for a mapping to weights or a selector, the result
             is a dict with these weights, from which a selector can be made.
    client   str, bytes or int (64 bits): the identity of the client, such as its host name. An int is the seed of XXH64 itself.
    Cost: O(servers * log servers). Raises TypeError or ValueError.
    """
    cdef uint64_t seed = 0
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"the size of a subset is an int, not {k!r}")
    if k < 0:
        raise ValueError(f"the size of a subset is 0 at least, not {k}")
    if isinstance(client, int):
        key_value(client, &seed)
    else:
        hash_key(client, HASH_XXH64, 0, &seed)
    names = list(servers)
    ranked = sorted([(hash_server(server, HASH_XXH64, seed), i) for i, server in enumerate(names)])
    kept = [names[<Py_ssize_t>i] for i in sorted([i for _, i in ranked[:k]])]
    if isinstance(servers, (Mapping, Algorithm, Wrapper)):
        return {server: servers[server] for server in kept}
    return kept
