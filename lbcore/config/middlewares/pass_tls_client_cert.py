"""`passTLSClientCert`: servers learn of the client's certificate. No I/O."""

from lbcore.config.model import Model


class Issuer(Model):
    """Parts of the issuer's name to pass on."""

    may_be_empty = True

    country: bool = False
    province: bool = False
    locality: bool = False
    organization: bool = False
    common_name: bool = False
    serial_number: bool = False
    domain_component: bool = False


class Subject(Issuer):
    """Parts of the subject's name to pass on."""

    organizational_unit: bool = False


class Info(Model):
    may_be_empty = True

    not_after: bool = False
    not_before: bool = False
    sans: bool = False
    serial_number: bool = False
    subject: Subject | None = None
    issuer: Issuer | None = None


class PassTLSClientCert(Model):
    """pem   the certificates, in X-Forwarded-Tls-Client-Cert.
    info  parts of them, in X-Forwarded-Tls-Client-Cert-Info.
    """

    pem: bool = False
    info: Info | None = None
