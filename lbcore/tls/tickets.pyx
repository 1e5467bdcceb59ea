"""The keys of session tickets, which all workers of an instance share: the newest encrypts, all three decrypt.

The supervisor creates them, and a new one twice a day, in a slot that no worker reads at that time: a returned key stays unchanged
for far longer than a handshake. Several instances may share keys: the supervisor then takes them from where all have them.
"""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from lbcore.selection.atomic cimport atomic_load_u64, atomic_store_u64
from lbcore.state.layout cimport TICKET_KEYS, TICKET_KEY_BYTES
from lbcore.state.region cimport Region


@cython.final
cdef class TicketKeys:
    """The ticket keys in a Region, which it keeps alive."""

    def __cinit__(self, Region region):
        self.region = region

    def use(self, uint64_t epoch, list keys) -> None:
        """Use keys that others know, too: those of `epoch` (which encrypts) and of the epochs before it, oldest first.

        To be called by one process only. From one epoch to the next, it overwrites a key that no handshake uses any more. Raises
        ValueError for keys of another length.
        """
        cdef bytes key
        cdef uint64_t age
        if len(keys) > TICKET_KEYS - 1 or any([len(<bytes?>key) != TICKET_KEY_BYTES for key in keys]):
            raise ValueError(f"there are up to {TICKET_KEYS - 1} keys of {TICKET_KEY_BYTES} bytes")
        for age, key in enumerate(reversed(keys)):
            place = self.region.header.ticket_keys[(epoch - age) % TICKET_KEYS]
            if memcmp(place, <const char*>key, TICKET_KEY_BYTES) != 0:
                memcpy(place, <const char*>key, TICKET_KEY_BYTES)
        atomic_store_u64(&self.region.header.ticket_epoch, epoch)

    cdef const unsigned char* newest(self) noexcept:
        """The key that encrypts, KEY_BYTES long. Borrowed from the region."""
        return self.region.header.ticket_keys[atomic_load_u64(&self.region.header.ticket_epoch) % TICKET_KEYS]

    cdef const unsigned char* named(self, const unsigned char* name, bint* is_newest) noexcept:
        """The key with this name, or NULL. Borrowed from the region."""
        cdef uint64_t epoch = atomic_load_u64(&self.region.header.ticket_epoch)
        cdef const unsigned char* key
        cdef uint64_t age
        for age in range(TICKET_KEYS - 1):
            key = self.region.header.ticket_keys[(epoch + TICKET_KEYS - age) % TICKET_KEYS]
            if memcmp(key, name, KEY_NAME_BYTES) == 0:
                is_newest[0] = age == 0
                return key
        return NULL
