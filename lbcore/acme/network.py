"""Requests to a CA: trust in its server, limits of time, and the times that it sets for the next request."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import weakref
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from acme import messages
from acme.client import ClientNetwork, ClientV2
from josepy.jwa import RS256
from josepy.jwk import JWKRSA
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection

from lbcore import __version__
from lbcore.acme.schedule import RATE_LIMITED_S
from lbcore.config.regular import read_regular
from lbcore.config.static import Acme
from lbcore.errors import message_of

CONNECT_S = 10.0
MOST_S = 600.0  # limit of a request without a configured one
NONCES = 3  # refusals in a row that are tolerated; the library itself tries each twice
BUNDLE = "-----BEGIN CERTIFICATE-----"


class Network(ClientNetwork):
    """The library's network, with our own trust and limits of time. `retry_after`: the last Retry-After of the CA."""

    def __init__(self, key: JWKRSA, trust: ssl.SSLContext, server_name: str, settings: Acme) -> None:
        super().__init__(key, alg=RS256, user_agent=f"lbcore/{__version__}")
        self._adapter = _Adapter(trust, server_name)
        self.session.mount("https://", self._adapter)
        self._whole_s = settings.client_timeout.total_seconds() or MOST_S
        head_s = min(settings.client_response_header_timeout.total_seconds() or MOST_S, self._whole_s)
        self._limits = (min(CONNECT_S, head_s), head_s)
        self.retry_after_s = 0.0

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Sign and send a request. A refused nonce is not an error: the next one may be accepted."""
        for _ in range(NONCES):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", self._limits)
        expired = threading.Event()

        def end() -> None:
            expired.set()
            self._adapter.cut()

        watch = threading.Timer(self._whole_s, end)
        watch.daemon = True
        watch.start()
        try:
            response = super()._send_request(method, url, *args, **kwargs)
        except requests.exceptions.RequestException:
            if not expired.is_set():
                raise
            raise requests.exceptions.Timeout(f"no whole answer within {self._whole_s:g} s") from None
        finally:
            watch.cancel()
        if response.status_code in (429, 503):
            until = ClientV2.retry_after(response, int(RATE_LIMITED_S))
            self.retry_after_s = max((until - datetime.now()).total_seconds(), 0.0)
        return response


class _Adapter(HTTPAdapter):
    """An adapter of requests in which one TLS context alone decides about trust.

    A timeout of requests is one of each read; `cut` ends an answer that comes in small pieces.
    """

    def __init__(self, trust: ssl.SSLContext, server_name: str) -> None:
        self._connections: weakref.WeakSet[HTTPSConnection] = weakref.WeakSet()
        self._settings: dict[str, Any] = {"ssl_context": trust}
        if server_name:
            self._settings |= {"server_hostname": server_name, "assert_hostname": server_name}
        super().__init__()

    def cut(self) -> None:
        """Break the connections, for another thread that reads from one of them."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError, AttributeError):  # it is closed
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{**kwargs, **self._settings})
        known = self._connections

        class Connection(HTTPSConnection):
            def connect(self) -> None:
                known.add(self)
                super().connect()

        class Pool(HTTPSConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {**self.poolmanager.pool_classes_by_scheme, "https": Pool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **{**kwargs, **self._settings})

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        parts = urlsplit(request.url)
        return {"scheme": parts.scheme.lower(), "host": parts.hostname, "port": parts.port}, {}


def trust_of(settings: Acme, environ: dict[str, str] | None = None) -> tuple[ssl.SSLContext, str]:
    """The TLS context for the server of a CA, and the name that its certificate must have; empty: the host of its URL.

    lego's variables apply where the configuration sets nothing. Raises ValueError.
    """
    environ = dict(os.environ) if environ is None else environ
    files, system = list(settings.ca_certificates), settings.ca_system_cert_pool
    if not files and (named := environ.get("LEGO_CA_CERTIFICATES")):
        files = named.split(os.pathsep)
        system = environ.get("LEGO_CA_SYSTEM_CERT_POOL", "").lower() in ("1", "t", "true")
    context = ssl.create_default_context() if system or not files else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not files and not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())  # for a system without authorities
    for file in files:
        try:
            text = file if BUNDLE in file else read_regular(file).data.decode()
            context.load_verify_locations(cadata=text)
        except (OSError, ssl.SSLError, UnicodeDecodeError, ValueError) as error:
            name = "a text" if BUNDLE in file else file
            raise ValueError(f"caCertificates: {name} cannot be used: {reason_of(error)}") from None
    return context, settings.ca_server_name or environ.get("LEGO_CA_SERVER_NAME", "")


def reason_of(error: BaseException) -> str:
    """The innermost cause of an exception, in one line."""
    inner: Any = error
    while (deeper := getattr(inner, "reason", None)) is not None and isinstance(deeper, BaseException):
        inner = deeper
    if inner is error and error.args and isinstance(error.args[0], BaseException):
        return reason_of(error.args[0])
    response = error.args[0] if error.args and isinstance(error.args[0], requests.Response) else None
    if response is not None:
        return f"the answer is {response.status_code} and no JSON"
    return message_of(inner)
