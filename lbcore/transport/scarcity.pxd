# What is said when descriptors, ports or memory of this process have run out.

cdef void lack(str what, int error) noexcept
