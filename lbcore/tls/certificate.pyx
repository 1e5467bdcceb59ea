"""Certificates with their keys, from text and as text, and the one that lbcore makes for itself."""

cimport cython

import base64
import hashlib
import ipaddress

from lbcore.tls.openssl cimport *

cdef enum:
    NID_COMMON_NAME = 13
    NID_ALT_NAME = 85
    NAME_DNS = 2               # GEN_DNS
    NAME_ADDRESS = 7           # GEN_IPADD
    UTF8 = 0x1000              # MBSTRING_UTF8


cdef int no_password(char* into, int size, int writing, void* data) noexcept:
    """Give no password: a key with a password is refused."""
    return -1


cdef list certificates_in(bytes text):
    """Addresses (X509) of all certificates in a PEM text; the caller frees each. Raises ValueError."""
    cdef void* source = BIO_new_mem_buf(<const char*>text, <int>len(text))
    cdef void* certificate
    found = []
    if source == NULL:
        raise MemoryError
    while True:
        certificate = PEM_read_bio_X509(source, NULL, NULL, NULL)
        if certificate == NULL:
            break
        found.append(<size_t>certificate)
    BIO_free(source)
    ERR_clear_error()
    if len(found) != text.count(b"-----BEGIN CERTIFICATE-----") + text.count(b"-----BEGIN TRUSTED CERTIFICATE-----") or not found:
        for address in found:
            X509_free(<void*><size_t>address)
        raise ValueError("is no certificate in PEM form" if b"-----BEGIN" not in text else "holds a certificate that cannot be read")
    return found


cdef tuple names_of(void* certificate):
    """DNS names of a certificate, in lower case, and its addresses as text: the alternative names, and the common name."""
    cdef char common[256]
    cdef void* names
    cdef void* name
    cdef int i, kind = 0, length
    cdef void* value
    found = []
    names = X509_get_ext_d2i(certificate, NID_ALT_NAME, NULL, NULL)
    if names != NULL:
        for i in range(OPENSSL_sk_num(names)):
            value = GENERAL_NAME_get0_value(OPENSSL_sk_value(names, i), &kind)
            if kind == NAME_DNS:
                found.append((<const char*>ASN1_STRING_get0_data(value))[:ASN1_STRING_length(value)].lower())
            elif kind == NAME_ADDRESS and ASN1_STRING_length(value) in (4, 16):
                packed = (<const char*>ASN1_STRING_get0_data(value))[:ASN1_STRING_length(value)]
                found.append(str(ipaddress.ip_address(packed)).encode())
        GENERAL_NAMES_free(names)
    name = X509_get_subject_name(certificate)
    length = X509_NAME_get_text_by_NID(name, NID_COMMON_NAME, common, sizeof(common))
    if length > 0:
        found.append(common[:length].lower())
    ERR_clear_error()
    return tuple(dict.fromkeys(found))


def is_address(name: bytes) -> bool:
    try:
        ipaddress.ip_address(name.decode("latin-1"))
    except ValueError:
        return False
    return True


@cython.final
cdef class Pair:
    """A certificate with its key, from PEM. Raises ValueError, whose text never contains the key."""

    def __cinit__(self, bytes certificate, bytes key):
        cdef void* source
        cdef int days = 0, seconds = 0
        addresses = certificates_in(certificate)
        self.certificate = <void*><size_t>addresses[0]
        if len(addresses) > 1:
            self.chain = OPENSSL_sk_new_null()
            for address in addresses[1:]:
                OPENSSL_sk_push(self.chain, <void*><size_t>address)
        source = BIO_new_mem_buf(<const char*>key, <int>len(key))
        if source == NULL:
            raise MemoryError
        self.key = PEM_read_bio_PrivateKey(source, NULL, no_password, NULL)
        BIO_free(source)
        ERR_clear_error()
        if self.key == NULL:
            raise ValueError("the key is encrypted: lbcore has no password" if b"ENCRYPTED" in key else "the key cannot be read")
        if X509_check_private_key(self.certificate, self.key) != 1:
            ERR_clear_error()
            raise ValueError("the key is not that of the certificate")
        self.names = names_of(self.certificate)
        self.fingerprint = hashlib.sha256(base64.b64decode(bare(written(self.certificate, False)))).hexdigest()
        self.has_address = any(is_address(name) for name in self.names)
        self.kind = next((kind for kind in ("EC", "RSA", "ED25519", "ED448") if EVP_PKEY_is_a(self.key, kind.encode())), "other")
        if ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(self.certificate)) == 1:
            self.days_left = days if seconds >= 0 else days - 1
        ERR_clear_error()

    def __dealloc__(self):
        cdef int i
        if self.chain != NULL:
            for i in range(OPENSSL_sk_num(self.chain)):
                X509_free(OPENSSL_sk_value(self.chain, i))
            OPENSSL_sk_free(self.chain)
        X509_free(self.certificate)
        EVP_PKEY_free(self.key)

    cdef int use(self, void* ssl) noexcept:
        """Set it as the certificate of a handshake. Returns 1, or 0 if OpenSSL refuses it."""
        return SSL_use_cert_and_key(ssl, self.certificate, self.key, self.chain, 1) == 1


def self_signed() -> tuple:
    """A new self-signed certificate and its key, as PEM: the default for names that have no certificate."""
    cdef void* maker = EVP_PKEY_CTX_new_from_name(NULL, b"EC", NULL)
    cdef void* key = NULL
    cdef void* certificate = X509_new()
    cdef void* name
    cdef void* extension
    cdef ossl_param settings[2]
    cdef unsigned char serial[8]
    settings[0] = ossl_param(b"group", PARAM_UTF8, <void*><const char*>b"P-256", 5, 0)
    settings[1] = ossl_param(NULL, 0, NULL, 0, 0)
    try:
        if maker == NULL or certificate == NULL or EVP_PKEY_keygen_init(maker) != 1 \
                or EVP_PKEY_CTX_set_params(maker, settings) != 1 or EVP_PKEY_generate(maker, &key) != 1 \
                or RAND_bytes(serial, 8) != 1:
            raise RuntimeError(f"cannot make a key: {failure()}")
        serial[7] &= 0x7f
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), int.from_bytes(serial[:8], "little") or 1)
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600)
        X509_gmtime_adj(X509_getm_notAfter(certificate), 365 * 86400)
        X509_set_pubkey(certificate, key)
        name = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(name, b"CN", UTF8, b"LBCORE DEFAULT CERT", -1, -1, 0)
        X509_set_issuer_name(certificate, name)
        extension = X509V3_EXT_conf_nid(NULL, NULL, NID_ALT_NAME, b"DNS:lbcore.default")
        if extension == NULL or X509_add_ext(certificate, extension, -1) != 1:
            raise RuntimeError(f"cannot make a certificate: {failure()}")
        X509_EXTENSION_free(extension)
        if X509_sign(certificate, key, EVP_sha256()) == 0:
            raise RuntimeError(f"cannot sign a certificate: {failure()}")
        return written(certificate, False), written(key, True)
    finally:
        EVP_PKEY_CTX_free(maker)
        EVP_PKEY_free(key)
        X509_free(certificate)
        ERR_clear_error()


cdef str written(void* thing, bint is_key):
    """As PEM."""
    cdef void* into = BIO_new(BIO_s_mem())
    cdef char* text = NULL
    cdef long length
    try:
        if into == NULL or (PEM_write_bio_PKCS8PrivateKey(into, thing, NULL, NULL, 0, NULL, NULL) if is_key else
                            PEM_write_bio_X509(into, thing)) != 1:
            raise RuntimeError(f"cannot write PEM: {failure()}")
        length = BIO_ctrl(into, BIO_CTRL_INFO, 0, &text)
        return text[:length].decode()
    finally:
        BIO_free(into)


cdef bytes bare(str pem):
    """The base64 of a text in PEM, in one line."""
    return "".join([line for line in pem.splitlines() if not line.startswith("-----")]).encode()
