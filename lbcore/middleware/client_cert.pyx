"""passTLSClientCert: servers learn of the client's certificate, which TLS has verified as its options say. No I/O."""

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport PASS, Context, Middleware
from lbcore.middleware.client_cert_text import info_of, pem_of
from lbcore.middleware.identity cimport IdentityHeader

cdef enum:
    MOST_KNOWN = 512           # chains whose texts are kept; the oldest one is forgotten


@cython.final
cdef class PassTLSClientCert(Middleware):
    """Sets one header, or both. Of a request without a certificate only what a trusted proxy has said goes on."""

    cdef bint pem
    cdef object info                   # Info; None = it is not passed on
    cdef IdentityHeader pem_header
    cdef IdentityHeader info_header
    cdef dict known                    # by chain: (PEM, info)

    def __init__(self, str name, config):
        self.name = name
        self.pem = config.pem
        self.info = config.info
        self.pem_header = IdentityHeader("X-Forwarded-Tls-Client-Cert")
        self.info_header = IdentityHeader("X-Forwarded-Tls-Client-Cert-Info")
        self.known = {}

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef tuple chain = request.tls_chain, texts
        if not request.head.encrypted or not chain:
            return PASS
        texts = self.known.get(chain)
        if texts is None:
            texts = self.learn(chain)
        if self.pem:
            self.pem_header.put(request, <bytes>texts[0])
        if self.info is not None:
            self.info_header.put(request, <bytes>texts[1])
        return PASS

    cdef tuple learn(self, tuple chain):
        if len(self.known) >= MOST_KNOWN:
            del self.known[next(iter(self.known))]
        texts = pem_of(chain) if self.pem else b"", info_of(chain, self.info) if self.info is not None else b""
        self.known[chain] = texts
        return texts
