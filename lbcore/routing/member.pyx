"""Members, among which a service chooses. No I/O."""

from libc.stdint cimport uint32_t

from lbcore.state.region cimport Region


cdef class Member:
    """A server, or a child, of a service: its shared cell and this worker's counters."""

    def __cinit__(self, str name, str key, Region region, uint32_t worker, uint32_t slot, *more):
        region.check_server(slot)
        region.check_worker(worker)
        self.name = name
        self.key = key
        self.slot = slot
        self.region = region
        self.cell = region.server(slot)
        self.stats = region.server_stats(worker, slot)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
