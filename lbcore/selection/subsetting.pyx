"""Subsetting: each client talks to a few of many servers, the same ones for as long as they are there. No I/O.

A client keeps the k servers whose hash, XXH64 of the name with the client's seed, is smallest (rendezvous hashing; gRPC A68, random
subsetting). Clients need not know of each other or be numbered. A server that comes or goes changes a client's part by one server
at most, and only if it is in it. The number of clients of a server is binomial: with c clients and n servers c * k / n, give or
take its square root; 1,000 clients with 10 of 100 servers each: 100 +- 10 (one standard deviation).
"""

from _collections_abc import Mapping

from libc.stdint cimport uint64_t

from lbcore.selection.hashing cimport HASH_XXH64, hash_key, hash_server, key_value
from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper


def subset(servers, k: int, client):
    """The k servers that a client talks to, all if there are no more: in the order they have in `servers`.

    servers  hashable objects with names (str, bytes, int, or with a `__str__`); from a mapping to weights, or a selector, the result
             is a dict with these weights, to make a selector of.
    client   str, bytes or int (64 bits): what tells this client from others, such as its host name. An int is XXH64's seed itself.
    Cost: O(servers * log servers).
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
