"""A client of one CA: the account, and orders from the first request to the certificate. All calls block.

The library `acme` implements the protocol. This module adds `replaces` of RFC 9773, and waits that end with the
process; `network` has the requests themselves.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from acme import challenges as kinds
from acme import errors, messages
from acme.client import ClientV2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from josepy import b64
from josepy.errors import Error as JoseError
from josepy.json_util import field
from josepy.jwk import JWKRSA

from lbcore.acme.keys import (
    account_key_der,
    as_address,
    key_pem,
    make_account_key,
    make_key,
    read_account_key,
    renewal_id,
    request_pem,
)
from lbcore.acme.network import Network, reason_of, trust_of
from lbcore.acme.schedule import RATE_LIMITED_S
from lbcore.acme.solving import Challenge, OrderError, Solver, Stop
from lbcore.acme.storage import Storage, StoredAccount, StoredCertificate
from lbcore.config.static import Acme

POLL_S = (0.25, 5.0)  # between two polls of an authorization: the first, and the longest
AUTHORIZATION_S = 180.0  # limit for the validation of a challenge
Asked = tuple[messages.AuthorizationResource, messages.ChallengeBody, Challenge, Solver]
PREFERRED = ("tls-alpn-01", "http-01", "dns-01")  # the order of several configured challenges, as in lego


class Order(messages.NewOrder):
    """An order with `replaces`, which names the certificate to renew (RFC 9773, section 5)."""

    replaces: str = field("replaces", omitempty=True)


class Authority:
    """A CA with the account of one resolver. Threads may call `connect` at the same time, each for its own Connection.

    say  logs a text.
    """

    def __init__(self, resolver: str, settings: Acme, storage: Storage, say: Callable[[str], None]) -> None:
        self._resolver = resolver
        self._settings = settings
        self._storage = storage
        self._say = say
        self._lock = threading.Lock()  # only one of several simultaneous orders registers the account
        self._trust: tuple[ssl.SSLContext, str] | None = None
        self._key: JWKRSA | None = None
        self._account_key: rsa.RSAPrivateKey
        self._account: messages.RegistrationResource | None = None
        self._forgotten = ""  # URI of an account that the CA no longer knows
        self._directory: messages.Directory | None = None

    def connect(self, registers: bool = True) -> Connection:
        """A Connection with the account, which is registered first if necessary. Raises OrderError and StorageError.

        registers  False: the requests need no account.
        """
        with self._lock:
            if self._trust is None:
                try:
                    self._trust = trust_of(self._settings)
                except ValueError as error:
                    raise OrderError(str(error)) from None
            if self._key is not None and (self._account is not None or not registers):
                return self._connection(self._key)
            with self._storage.holding(f"account of {self._resolver}"):
                self._load()  # another instance may have registered one
                assert self._key is not None
                connection = self._connection(self._key)
                if self._account is None and registers:
                    self._account = self._register(connection)
                    self._store()
            return connection

    def _connection(self, key: JWKRSA) -> Connection:
        assert self._trust is not None
        connection = Connection(self._settings, Network(key, *self._trust, self._settings), key)
        connection.open(self._directory, self._account)
        self._directory = connection.client.directory
        return connection

    def forget(self) -> None:
        """Drop the account, which the CA no longer knows: the next `connect` registers it again."""
        with self._lock:
            self._forgotten = self._account.uri if self._account is not None else ""
            self._account = None

    def _load(self) -> None:
        """Read the stored account, if it belongs to this CA."""
        stored = self._storage.account(self._resolver)
        if stored is not None and stored.uri and _host(stored.uri) != _host(self._settings.ca_server):
            self._say("the account's URI does not match caServer: the account is reset")
            stored = None
        if stored is None or not stored.key:
            self._account_key = make_account_key()
            self._key = JWKRSA(key=self._account_key)
            self._store()
            return
        try:
            self._account_key = read_account_key(stored.key)
            self._key = JWKRSA(key=self._account_key)
        except ValueError as error:
            raise OrderError(f"{self._storage.place}: {error}") from None
        if stored.uri and stored.uri != self._forgotten:
            body = messages.Registration.from_json(
                {key: value for key, value in stored.body.items() if key in ("status", "contact")}
            )
            self._account = messages.RegistrationResource(body=body, uri=stored.uri)

    def _store(self) -> None:
        assert self._key is not None
        account, body = self._account, {}
        if account is not None:
            body = {"status": "valid", "contact": list(account.body.contact or ())}
            if not body["contact"]:
                del body["contact"]
        uri = account.uri if account is not None else ""
        key = account_key_der(self._account_key)
        self._storage.set_account(self._resolver, StoredAccount(self._settings.email, uri, key, body))

    def _register(self, connection: Connection) -> messages.RegistrationResource:
        client, settings = connection.client, self._settings
        binding = None
        if settings.eab is not None and settings.eab.kid:
            try:
                binding = messages.ExternalAccountBinding.from_data(
                    account_public_key=self._key.public_key() if self._key else None,
                    kid=settings.eab.kid,
                    hmac_key=_urlsafe(settings.eab.hmac_encoded),
                    directory=client.directory,
                )
            except (ValueError, JoseError) as error:
                raise OrderError(f"eab.hmacEncoded cannot be used: {reason_of(error)}") from None
        contact = (f"mailto:{settings.email}",) if settings.email else ()
        new = messages.NewRegistration(
            contact=contact, terms_of_service_agreed=True, external_account_binding=binding
        )
        self._say(f"registering an account with {settings.ca_server}")
        with _as_order_error("the account is refused", connection):
            try:
                return client.new_account(new)
            except errors.ConflictError as error:
                known = messages.RegistrationResource(body=messages.Registration(contact=contact), uri=error.location)
                client.net.account = known
                return known
        raise AssertionError("unreachable")


class Connection:
    """A client of the CA, for one thread."""

    def __init__(self, settings: Acme, network: Network, key: JWKRSA) -> None:
        self.network = network
        self.key = key
        self.client: ClientV2
        self._settings = settings

    def open(self, directory: messages.Directory | None, account: messages.RegistrationResource | None) -> None:
        """Read the directory of the CA, if it is not known yet. Raises OrderError."""
        self.network.account = account
        with _as_order_error("it cannot be reached", self):
            directory = directory or ClientV2.get_directory(self._settings.ca_server, self.network)
        self.client = ClientV2(directory, self.network)

    def close(self) -> None:
        """Safe to call twice."""
        self.network.session.close()

    def order(
        self, names: Sequence[str], solvers: Sequence[Solver], stop: Stop, replaces: x509.Certificate | None = None
    ) -> StoredCertificate:
        """Order a certificate. Raises OrderError and StoppedError.

        replaces  the certificate to renew.
        """
        settings = self._settings
        key = make_key(settings.key_type)
        request = request_pem(key, names, settings.email_addresses, not settings.disable_common_name)
        stop.check()
        with _as_order_error("the order is refused", self):
            resource = self._new_order(names, request, replaces)
        try:
            self._authorize(resource, solvers, stop)
        except BaseException:
            self._deactivate(resource)
            raise
        with _as_order_error("no certificate was issued", self):
            chains = self._finalize(resource, stop)
        return StoredCertificate(tuple(names), self._preferred(chains), key_pem(key))

    def renewal_window(self, certificate: x509.Certificate) -> tuple[datetime, datetime, float] | None:
        """Begin and end of the suggested renewal window (RFC 9773), and the seconds until the next request.

        None: the CA suggests nothing. Raises OrderError.
        """
        base, name = getattr(self.client.directory, "renewalInfo", ""), renewal_id(certificate)
        if not base or not name:
            return None
        with _as_order_error("it does not say when to renew", self):
            answer = self.network.get(f"{base.rstrip('/')}/{name}")
            window = messages.RenewalInfo.from_json(answer.json()).suggested_window
            again = (ClientV2.retry_after(answer, 6 * 3600) - datetime.now()).total_seconds()
            return _utc(window.start), _utc(window.end), min(max(again, 60.0), 86400.0)
        raise AssertionError("unreachable")

    def _new_order(
        self, names: Sequence[str], request: bytes, replaces: x509.Certificate | None
    ) -> messages.OrderResource:
        identifiers = [
            messages.Identifier(
                typ=messages.IDENTIFIER_FQDN if as_address(name) is None else messages.IDENTIFIER_IP, value=name
            )
            for name in names
        ]
        offered = hasattr(self.client.directory, "renewalInfo")
        replaced = renewal_id(replaces) if replaces is not None and offered else ""
        try:
            response = self._post_order(identifiers, replaced)
        except messages.Error as error:
            if not replaced or error.code in ("rateLimited", "accountDoesNotExist"):
                raise
            response = self._post_order(identifiers, "")  # the CA does not accept `replaces` for that certificate
        body = messages.Order.from_json(response.json())
        authorizations = [
            messages.AuthorizationResource(body=messages.Authorization.from_json(self._read(url).json()), uri=url)
            for url in body.authorizations
        ]
        return messages.OrderResource(
            body=body, uri=response.headers.get("Location"), authorizations=authorizations, csr_pem=request
        )

    def _post_order(self, identifiers: list[messages.Identifier], replaces: str) -> requests.Response:
        new = Order(identifiers=identifiers, profile=self._settings.profile, replaces=replaces)
        return self._post(self.client.directory["newOrder"], new)

    def _post(self, url: str, content: Any) -> requests.Response:
        return self.network.post(url, content, new_nonce_url=self.client.directory["newNonce"])

    def _read(self, url: str) -> requests.Response:
        return self._post(url, None)

    def _authorize(self, resource: messages.OrderResource, solvers: Sequence[Solver], stop: Stop) -> None:
        """Prove control over the names to the CA."""
        together: list[Asked] = []
        rounds = [together]
        for authorization in resource.authorizations:
            if authorization.body.status == messages.STATUS_PENDING:
                asked = authorization, *self._chosen(authorization.body, solvers)
                if asked[-1].one_by_one:
                    rounds.append([asked])
                else:
                    together.append(asked)
        for each in rounds:
            self._prove(each, stop)

    def _prove(self, asked: Sequence[Asked], stop: Stop) -> None:
        """Answer these challenges, and wait until the CA has validated all."""
        by_solver = {
            solver: [challenge for _, _, challenge, other in asked if other is solver] for *_, solver in asked
        }
        try:
            for solver, challenges in by_solver.items():
                solver.present(challenges, stop)
            for _, body, challenge, _ in asked:
                with _as_order_error(f"the challenge for {challenge.name} is refused", self):
                    self._post(body.uri, kinds.HTTP01Response())
            for authorization, _, challenge, _ in asked:
                self._wait_for(authorization, challenge.name, stop)
        finally:
            for solver, challenges in by_solver.items():
                solver.clean(challenges)

    def _chosen(
        self, body: messages.Authorization, solvers: Sequence[Solver]
    ) -> tuple[messages.ChallengeBody, Challenge, Solver]:
        by_kind = {kind: solver for solver in solvers for kind in solver.kinds}
        thumbprint = b64.b64encode(self.key.thumbprint()).decode()
        offered = {}
        for each in body.challenges:
            fields = each.chall.to_json()
            offered[str(fields.get("type"))] = each, str(fields.get("token", ""))
        for kind in PREFERRED:
            if kind in by_kind and kind in offered:
                each, token = offered[kind]
                challenge = Challenge(kind, body.identifier.value, token, f"{token}.{thumbprint}")
                return each, challenge, by_kind[kind]
        wanted = ", ".join(sorted(by_kind)) or "no challenge"
        raise OrderError(f"{body.identifier.value}: the CA offers {', '.join(sorted(offered))}; configured is {wanted}")

    def _wait_for(self, authorization: messages.AuthorizationResource, name: str, stop: Stop) -> None:
        give_up, (wait_s, longest_s) = time.monotonic() + AUTHORIZATION_S, POLL_S
        while True:
            with _as_order_error(f"{name} cannot be validated", self):
                response = self._read(authorization.uri)
                body = messages.Authorization.from_json(response.json())
            if body.status == messages.STATUS_VALID:
                return
            if body.status not in (messages.STATUS_PENDING, messages.STATUS_PROCESSING):
                reasons = [_problem(each.error) for each in body.challenges if each.error is not None]
                raise OrderError(f"{name} is not validated: {'; '.join(reasons) or body.status.name}")
            if time.monotonic() > give_up:
                raise OrderError(f"{name} was not validated within {AUTHORIZATION_S:g} s", is_temporary=True)
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    def _finalize(self, resource: messages.OrderResource, stop: Stop) -> list[str]:
        """Finish the order. Returns the chains that the CA offers, its default first."""
        give_up = time.monotonic() + (self._settings.certificate_timeout.total_seconds() or 30.0)
        csr = messages.CertificateRequest(csr=x509.load_pem_x509_csr(resource.csr_pem))
        body, asked, wait_s = resource.body, False, POLL_S[0]
        while True:
            if body.status == messages.STATUS_READY or (body.status == messages.STATUS_PENDING and not asked):
                asked = True
                try:
                    body = messages.Order.from_json(self._post(body.finalize, csr).json())
                except messages.Error as error:
                    if error.code != "orderNotReady":
                        raise
            if body.status == messages.STATUS_VALID and body.certificate:
                break
            if body.status == messages.STATUS_INVALID:
                reason = _problem(body.error) if body.error else "no reason given"
                raise OrderError(f"no certificate was issued: {reason}")
            if time.monotonic() > give_up:
                raise OrderError("no certificate was issued in time", is_temporary=True)
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, POLL_S[1])
            body = messages.Order.from_json(self._read(resource.uri).json())
        answer = self._read(body.certificate)
        chains = [answer.text]
        if self._settings.preferred_chain:
            links = requests.utils.parse_header_links(answer.headers.get("Link", ""))
            chains += [self._read(link["url"]).text for link in links if link.get("rel") == "alternate"]
        return chains

    def _preferred(self, chains: Sequence[str]) -> str:
        """The chain whose topmost certificate preferredChain issued, or the default one."""
        for text in chains if self._settings.preferred_chain else ():
            top = x509.load_pem_x509_certificates(text.encode())[-1]
            names = top.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            if any(name.value == self._settings.preferred_chain for name in names):
                return text
        return chains[0]

    def _deactivate(self, resource: messages.OrderResource) -> None:
        """Deactivate pending authorizations, because a CA limits their number. Best effort."""
        for authorization in resource.authorizations:
            if authorization.body.status == messages.STATUS_PENDING:
                try:
                    self._post(authorization.uri, messages.UpdateAuthorization(status="deactivated"))
                except (errors.Error, messages.Error, requests.RequestException):
                    return


class _as_order_error:
    """A context that turns exceptions of the library into OrderError."""

    def __init__(self, what: str, connection: Connection) -> None:
        self._what = what
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.network.retry_after_s = 0.0

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        wait_s = self._connection.network.retry_after_s
        if isinstance(error, messages.Error):
            if error.code == "rateLimited":
                wait_s = wait_s or RATE_LIMITED_S
            busy = error.code in ("rateLimited", "serverInternal", "badNonce")
            raise OrderError(f"{self._what}: {_problem(error)}", wait_s, busy, error.code or "") from error
        if isinstance(error, requests.RequestException):
            raise OrderError(f"{self._what}: {reason_of(error)}", wait_s, is_temporary=True) from error
        if isinstance(error, errors.Error | JoseError | KeyError | ValueError):
            raise OrderError(f"{self._what}: {reason_of(error)}", wait_s, is_temporary=bool(wait_s)) from error


def _problem(error: messages.Error) -> str:
    """An error of the CA, in one line."""
    parts = [f"{error.code or error.typ}: {error.detail or error.title or ''}"]
    parts += [f"{each.identifier.value if each.identifier else ''}: {each.detail}" for each in error.subproblems or ()]
    return " ".join("; ".join(parts).split())


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _urlsafe(text: str) -> str:
    """Convert base64 of any alphabet, as CAs issue it, into the alphabet of the library."""
    return text.strip().replace("+", "-").replace("/", "_").rstrip("=")


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


