"""Sticky sessions: values that name servers, so that a client returns to the server it was given. No I/O.

Values are Traefik's, 16 hexadecimal digits of the SHA-256 of the name, so sessions survive a move between Traefik and lbcore. A
signed value consists of a nonce, the id masked with it, and a keyed hash (BLAKE2b, RFC 7693): 32 bytes in hexadecimal digits. A
client cannot forge the value of another server, nor tell whether two values name the same server.
Vector: http://127.0.0.1:8080 is named by d30a576c03187167.
"""

import hashlib
import hmac
import os

cimport cython

cdef enum:
    NONCE_BYTES = 8
    ID_BYTES = 8
    MAC_BYTES = 16
    CONTEXT_BYTES = 16


def member_id(key: str | bytes) -> str:
    """The value for a member: 16 hexadecimal digits of the SHA-256 of its key (a URL, or a child's name, as written)."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()[:2 * ID_BYTES]


def legacy_ids(key: str) -> list[str]:
    """The values that former versions of Traefik used: the key, its 64-bit FNV-1 hash, and the hash of that."""
    once = f"{fnv1(key.encode()):x}"
    return [key, once, f"{fnv1(once.encode()):x}"]


def fnv1(data: bytes) -> int:
    """FNV-1, 64 bits (Fowler, Noll and Vo)."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = found * 0x100000001B3 % (1 << 64) ^ byte
    return found


def name_of(server) -> str:
    """The name of a server that is hashed: the server itself for str, else its `str()`.

    Raises TypeError when `str()` contains the address of an object, which differs between processes.
    """
    if isinstance(server, str):
        return server
    if isinstance(server, bytes):
        return server.decode("utf-8", "surrogateescape")
    if type(server).__str__ is object.__str__ and type(server).__repr__ is object.__repr__:
        raise TypeError(f"{server!r} has no name that is the same in every process: define __str__")
    return str(server)


@cython.final
cdef class StickyCodec:
    """StickyCodec(servers, *, keys=(), context="")\n--\n\nValues for servers, and servers for values.

    servers  any hashable objects with names (see `name_of`), or a selector. If several have the same name, values name the first.
    keys     secrets, of which the first signs; values signed with the others are accepted, as stale. Without keys values are not
             signed, and values of former versions of Traefik are accepted, as stale.
    context  the purpose of the values, e.g. the name of the cookie: a signed value is valid only there. 16 bytes of it count.
    Cost: O(1); a lookup without keys, some microseconds with them. Memory: five short strings per server, two with keys.
    Raises TypeError or ValueError.
    """

    def __init__(self, servers, *, keys=(), context: str = ""):
        if isinstance(keys, (str, bytes)):
            raise TypeError("keys are a list of secrets, not one")
        self.keys = []
        for key in keys:
            secret = key.encode() if isinstance(key, str) else bytes(key)
            if not secret:
                raise ValueError("an empty key is no secret")
            self.keys.append(hashlib.sha256(secret).digest())
        self.context = context.encode()[:CONTEXT_BYTES]
        self.update(servers)

    def update(self, servers) -> None:
        """Replace the servers. The value of a server does not depend on the others."""
        found = list(servers)
        names = [name_of(server) for server in found]
        ids = [member_id(name.encode("utf-8", "surrogateescape")).encode() for name in names]
        legacy = {}
        if not self.keys:
            for index, name in enumerate(names):
                for value in legacy_ids(name.encode("utf-8", "replace").decode()):
                    legacy.setdefault(value.encode(), index)
        self.servers, self.ids, self.legacy = found, ids, legacy
        self.index_of = {value: index for index, value in reversed(list(enumerate(ids)))}

    def encode(self, server) -> str:
        """A value for a server, which need not be one of `servers`. If there are keys it is signed, and differs at each call."""
        id = member_id(name_of(server).encode("utf-8", "surrogateescape")).encode()
        return (self.signed(id) if self.keys else id).decode()

    def decode(self, value: str | bytes) -> tuple:
        """`(server, stale)`: the server that a value names, or None, and whether the client needs a new value."""
        cdef bint stale = False
        cdef Py_ssize_t index
        if isinstance(value, str):
            value = value.encode("utf-8", "replace")
        index = self.find(value, &stale)
        return (None, True) if index < 0 else (self.servers[index], stale)

    def __class_getitem__(cls, item):
        """The class itself: `StickyCodec[str]` is for annotations."""
        return cls

    cdef Py_ssize_t find(self, bytes value, bint* stale) except -2:
        """The index of the server that a value names, or -1. `stale`: the client needs a new value."""
        stale[0] = False
        if self.keys:
            value = self.verified(value, stale)
        index = self.index_of.get(value)
        if index is None:
            index = self.legacy.get(value)
            stale[0] = True
        return -1 if index is None else index

    cdef bytes value_of(self, Py_ssize_t index):
        value = self.ids[index]
        return self.signed(value) if self.keys else value

    cdef bytes signed(self, bytes id):
        nonce = os.urandom(NONCE_BYTES)
        key = self.keys[0]
        mask = hashlib.blake2b(nonce, key=key, digest_size=ID_BYTES, person=b"lbcore mask").digest()
        hidden = bytes(a ^ b for a, b in zip(bytes.fromhex(id.decode()), mask))
        return (nonce + hidden + self.mac(key, nonce + hidden)).hex().encode()

    cdef bytes mac(self, bytes key, bytes data):
        return hashlib.blake2b(data, key=key, digest_size=MAC_BYTES, salt=b"lbcore", person=self.context).digest()

    cdef bytes verified(self, bytes value, bint* stale):
        """The id in a signed value; empty if the signature is not valid."""
        try:
            data = bytes.fromhex(value.decode("ascii"))
        except ValueError:
            return b""
        if len(data) != NONCE_BYTES + ID_BYTES + MAC_BYTES:
            return b""
        sealed, mac = data[:NONCE_BYTES + ID_BYTES], data[NONCE_BYTES + ID_BYTES:]
        for number, key in enumerate(self.keys):
            if hmac.compare_digest(self.mac(key, sealed), mac):
                stale[0] = number > 0          # signed with a key that is being replaced
                mask = hashlib.blake2b(sealed[:NONCE_BYTES], key=key, digest_size=ID_BYTES, person=b"lbcore mask").digest()
                return bytes(a ^ b for a, b in zip(sealed[NONCE_BYTES:], mask)).hex().encode()
        return b""
