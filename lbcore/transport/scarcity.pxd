# The log of lacking descriptors, ports or memory of this process.

cdef void lack(str what, int error) noexcept
