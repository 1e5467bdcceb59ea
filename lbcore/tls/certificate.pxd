# Certificates with their keys.

cdef class Pair:
    cdef void* certificate             # X509, owned
    cdef void* key                     # EVP_PKEY, owned
    cdef void* chain                   # STACK_OF(X509), owned with what is in it; NULL: no further certificates
    cdef readonly tuple names          # bytes in lower case, `*.x` for any label before x; addresses as text
    cdef readonly bint has_address     # one of them is an address
    cdef readonly str kind             # RSA, EC, …
    cdef readonly str fingerprint      # SHA-256 of the DER of the certificate, in hexadecimal digits
    cdef readonly int days_left        # below 0: it has expired
    cdef object __weakref__            # `tls.pairs` finds the pairs in use by their content

    cdef int use(self, void* ssl) noexcept


cdef list certificates_in(bytes text)
cdef str written(void* thing, bint is_key)
cdef bytes bare(str pem)
