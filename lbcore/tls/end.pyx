"""One end of a connection over TLS, of a client or of a server: what is known of the peer, and why a call failed."""

from lbcore.tls.certificate cimport bare, written
from lbcore.tls.openssl cimport *

cdef enum:
    SUBJECT_STYLE = 0x1110317  # XN_FLAG_RFC2253


cdef class End:
    """One end of a connection: an SSL of OpenSSL, which it owns."""

    def __cinit__(self):
        self.server_name = b""

    cdef void free(self) noexcept:
        """Safe to call twice."""
        cdef void* ssl = self.ssl
        self.ssl = NULL
        if ssl != NULL:
            SSL_free(ssl)

    def __dealloc__(self):
        cdef void* ssl = self.ssl
        self.ssl = NULL
        if ssl != NULL:
            SSL_free(ssl)

    cdef str check(self):
        """Verify the peer after the handshake. Returns the reason for a refusal, or None."""
        return None

    cdef bytes peer_subject(self):
        """The subject of the peer's certificate, as in RFC 2253; None: it has shown none."""
        cdef void* certificate = SSL_get1_peer_certificate(self.ssl)
        cdef void* into
        cdef char* text = NULL
        cdef long length
        if certificate == NULL:
            return None
        into = BIO_new(BIO_s_mem())
        try:
            if into == NULL or X509_NAME_print_ex(into, X509_get_subject_name(certificate), 0, SUBJECT_STYLE) < 0:
                return b""
            length = BIO_ctrl(into, BIO_CTRL_INFO, 0, &text)
            return text[:length]
        finally:
            BIO_free(into)
            X509_free(certificate)
            ERR_clear_error()

    cdef tuple peer_chain(self):
        """The certificates that the peer has shown, its own first, as the base64 of their DER; empty: none. Of a session that was
        resumed the first one alone is known."""
        cdef void* certificate = SSL_get1_peer_certificate(self.ssl)
        cdef void* chain = SSL_get_peer_cert_chain(self.ssl)       # without the first one; owned by the session
        cdef int i
        cdef list found = []
        if certificate == NULL:
            return ()
        try:
            found.append(bare(written(certificate, False)))
            if chain != NULL:
                for i in range(OPENSSL_sk_num(chain)):
                    found.append(bare(written(OPENSSL_sk_value(chain, i), False)))
        finally:
            X509_free(certificate)
            ERR_clear_error()
        return tuple(found)

    cdef str failure(self):
        """The reason of the last failed call. Empties the queue of errors."""
        cdef long verified = SSL_get_verify_result(self.ssl)
        text = failure()
        if verified == 0 or "verify failed" not in text:
            return text
        return f"{text}: {X509_verify_cert_error_string(verified).decode('ascii', 'replace')}"
