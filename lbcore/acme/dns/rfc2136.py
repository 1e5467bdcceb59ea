"""The provider `rfc2136` of lego: dynamic updates (RFC 2136), signed with TSIG (RFC 8945)."""

from __future__ import annotations

import re
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update

from lbcore.acme.dns.base import TTL_S, DnsProvider, Environment, Record
from lbcore.acme.dns.lookup import LookupError_, address_of, split_server
from lbcore.acme.solving import OrderError, Stop
from lbcore.config.regular import read_regular
from lbcore.errors import message_of

USUAL_ALGORITHM = "hmac-sha1."


class Rfc2136Provider(DnsProvider):
    """Sends updates to RFC2136_NAMESERVER."""

    sequential = True

    def __init__(self, environ: Environment) -> None:
        self._server = split_server(environ.need("RFC2136_NAMESERVER"))
        self._ttl = int(environ.seconds("RFC2136_TTL", TTL_S))
        self._limit_s = environ.seconds("RFC2136_DNS_TIMEOUT", 10.0)
        name, secret = environ.get("RFC2136_TSIG_KEY"), environ.get("RFC2136_TSIG_SECRET")
        algorithm = environ.get("RFC2136_TSIG_ALGORITHM") or USUAL_ALGORITHM
        if file := environ.get("RFC2136_TSIG_FILE"):
            name, secret, algorithm = read_key(Path(file))
        self._key = None
        if name and secret:
            try:
                self._key = dns.tsig.Key(dns.name.from_text(name), secret, dns.name.from_text(algorithm.lower()))
                dns.message.make_query("test.", "SOA").use_tsig(self._key)
            except (dns.exception.DNSException, ValueError, NotImplementedError):
                raise ValueError("RFC2136_TSIG_SECRET cannot be used with this name and algorithm") from None
        self.set_times(environ, "RFC2136")

    def present(self, record: Record, stop: Stop) -> None:
        """Add the record, and leave other values of its name."""
        update = self._update(record)
        update.add(dns.name.from_text(record.name), self._ttl, "TXT", f'"{record.value}"')
        self._send(update)

    def clean(self, record: Record) -> None:
        """Delete this value, and leave others."""
        update = self._update(record)
        update.delete(dns.name.from_text(record.name), "TXT", f'"{record.value}"')
        self._send(update)

    def _update(self, record: Record) -> dns.update.UpdateMessage:
        update = dns.update.UpdateMessage(self._zone_of(record.name))
        if self._key is not None:
            update.use_tsig(self._key)
        return update

    def _zone_of(self, name: str) -> dns.name.Name:
        """The zone of a name, according to the server itself."""
        found = dns.name.from_text(name)
        while len(found) > 1:
            question = dns.message.make_query(found, dns.rdatatype.SOA)
            answer = self._exchange(question)
            for rrset in answer.answer:
                if rrset.rdtype == dns.rdatatype.SOA and rrset.name == found:
                    return found
            found = found.parent()
        raise OrderError(f"{self._server[0]} has no zone for {name}")

    def _send(self, update: dns.update.UpdateMessage) -> None:
        answer = self._exchange(update)
        if answer.rcode() != dns.rcode.NOERROR:
            raise OrderError(f"{self._server[0]} refuses the update: {dns.rcode.to_text(answer.rcode())}")

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        host, port = self._server
        try:
            return dns.query.udp_with_fallback(message, address_of(host), self._limit_s, port)[0]
        except (dns.exception.DNSException, LookupError_, OSError) as error:
            reason = message_of(error)
            raise OrderError(f"name server {host}:{port}: {reason}", is_temporary=True) from None


def read_key(file: Path) -> tuple[str, str, str]:
    """Name, secret and algorithm in a file of `tsig-keygen`. Raises ValueError."""
    try:
        text = read_regular(file).data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"RFC2136_TSIG_FILE: {file} cannot be read: {error}") from None
    name = re.search(r'\bkey\s+"?([^\s"{]+)"?', text)
    algorithm = re.search(r'\balgorithm\s+"?([^\s";]+)"?', text)
    secret = re.search(r'\bsecret\s+"?([^\s";]+)"?', text)
    if name is None or algorithm is None or secret is None:
        raise ValueError(f"RFC2136_TSIG_FILE: {file} holds no key")
    return name[1], secret[1], algorithm[1]
