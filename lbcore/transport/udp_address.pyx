"""The addresses of a datagram: those of its client and of this host, as the key of a session and as the kernel takes them."""

from libc.stdint cimport uint64_t, uint8_t
from libc.string cimport memcmp, memcpy, memset

from lbcore.transport.datagrams cimport CONTROL_BYTES
from lbcore.transport.inet cimport (
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_SPACE, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, IP_PKTINFO,
    cmsghdr, in6_pktinfo, in_pktinfo, mmsghdr, msghdr, sockaddr_in, sockaddr_in6,
)
from lbcore.transport.session_table cimport SessionKey


cdef bint same_sender(const mmsghdr* a, const mmsghdr* b) noexcept nogil:
    """Whether two datagrams are of one session."""
    return (
        a.msg_hdr.msg_namelen == b.msg_hdr.msg_namelen
        and a.msg_hdr.msg_controllen == b.msg_hdr.msg_controllen
        and memcmp(a.msg_hdr.msg_name, b.msg_hdr.msg_name, a.msg_hdr.msg_namelen) == 0
        and memcmp(a.msg_hdr.msg_control, b.msg_hdr.msg_control, a.msg_hdr.msg_controllen) == 0
    )


cdef inline void put_mapped(uint8_t* out, const void* ip) noexcept nogil:
    out[10] = out[11] = 0xFF
    memcpy(out + 12, ip, 4)


cdef bint read_key(msghdr* message, SessionKey* key) noexcept nogil:
    """Read the addresses of a datagram. Returns False for a family other than IP."""
    cdef const sockaddr_in* v4 = <const sockaddr_in*>message.msg_name
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>message.msg_name
    cdef cmsghdr* control = CMSG_FIRSTHDR(message)
    memset(key, 0, sizeof(SessionKey))
    if message.msg_namelen >= sizeof(sockaddr_in) and v4.sin_family == AF_INET:
        put_mapped(key.client, &v4.sin_addr)
        key.port = v4.sin_port
    elif message.msg_namelen >= sizeof(sockaddr_in6) and v6.sin6_family == AF_INET6:
        memcpy(key.client, &v6.sin6_addr, 16)
        key.port = v6.sin6_port
        key.scope = v6.sin6_scope_id
    else:
        return False
    if control != NULL and control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_PKTINFO:
        put_mapped(key.local, &(<in_pktinfo*>CMSG_DATA(control)).ipi_spec_dst)
    elif control != NULL and control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_PKTINFO:
        memcpy(key.local, &(<in6_pktinfo*>CMSG_DATA(control)).ipi6_addr, 16)
    return True


cdef bint may_send_from(const uint8_t* ip) noexcept nogil:
    """Whether an address to which a client has sent may be that of its answer: it is none of a group."""
    cdef int i
    if ip[0] == 0xFF:
        return False
    for i in range(10):
        if ip[i]:
            return True
    return not (ip[10] == 0xFF and ip[11] == 0xFF and ip[12] >= 224)


cdef size_t put_control(msghdr* received, const SessionKey* key, uint64_t* out) noexcept nogil:
    """Write the control data that have the kernel send from the address to which the client has sent. Returns their size."""
    cdef cmsghdr* header = <cmsghdr*>out
    cdef cmsghdr* old = CMSG_FIRSTHDR(received)
    cdef in6_pktinfo* v6 = <in6_pktinfo*>CMSG_DATA(header)
    cdef in_pktinfo* v4 = <in_pktinfo*>CMSG_DATA(header)
    if old == NULL or not may_send_from(key.local):
        return 0
    memset(out, 0, CONTROL_BYTES)
    header.cmsg_level = old.cmsg_level
    header.cmsg_type = old.cmsg_type
    if old.cmsg_level == IPPROTO_IP:
        header.cmsg_len = CMSG_LEN(sizeof(in_pktinfo))
        memcpy(&v4.ipi_spec_dst, key.local + 12, 4)
        return CMSG_SPACE(sizeof(in_pktinfo))
    header.cmsg_len = CMSG_LEN(sizeof(in6_pktinfo))
    memcpy(&v6.ipi6_addr, key.local, 16)
    return CMSG_SPACE(sizeof(in6_pktinfo))
