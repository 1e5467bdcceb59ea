"""Fetches OCSP responses for the certificates in force, ahead of the handshakes that staple them.

    configuration in force ─► certificates with a responder ─► requests, each in a thread ─► verified ─► workers

No handshake waits for a responder: a worker staples what it has, or nothing. A response that cannot be renewed is
stapled until it ends.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lbcore.config.blocking import BlockedError, BlockingCalls
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import Ocsp
from lbcore.ocsp.response import RevokedError, Staple, issuer_among, read_response, request_for, responders_of
from lbcore.tls.describe import UNREADABLE

SetStaples = Callable[[Mapping[str, str], Sequence[str]], Awaitable[None]]
AT_ONCE = 8  # requests under way
ANSWER_S = 10.0  # limit of a request
CONNECT_S = 5.0
ANSWER_BYTES = 1 << 16  # limit of an answer
FIRST_WAIT_S, LONGEST_WAIT_S = 60.0, 3600.0  # after failures in a row
LEAST_WAIT_S = 10.0  # between two requests for a certificate
LOOK_S = 60.0  # between two looks at the clock

_log = logging.getLogger("lbcore.ocsp")


@dataclass(eq=False)
class Entry:
    """A certificate with a responder. `at`: the time of its next request, in seconds since 1970.

    urls  of its responders, after `responderOverrides`.
    sent  the workers have the staple.
    """

    certificate: x509.Certificate
    issuer: x509.Certificate
    urls: list[str]
    names: str
    staple: Staple | None = None
    at: float = 0.0
    failures: int = 0
    is_asking: bool = False
    sent: bool = False


class StaplingAgent:
    """Keeps the staples of the workers current.

    set_staples  gives the workers staples in base64, by the SHA-256 of their certificates, and takes those away that
                 are listed.
    """

    def __init__(self, settings: Ocsp, set_staples: SetStaples) -> None:
        self._settings = settings
        self._set_staples = set_staples
        self._entries: dict[str, Entry] = {}
        self._gone: set[str] = set()  # the workers have a staple for them that they are to drop
        self._read: dict[str, tuple[str, Entry] | None] = {}  # by text of a certificate in force
        self._dynamic: DynamicConfig | None = None  # a configuration that was not followed yet
        self._changed = asyncio.Event()
        self._calls = BlockingCalls()
        self._tasks: set[asyncio.Task[None]] = set()

    def configured(self, dynamic: DynamicConfig) -> None:
        """Follow a merged configuration that came into force."""
        self._dynamic = dynamic
        self._changed.set()

    async def _follow(self) -> None:
        """Take the certificates of the newest configuration. They are read in a thread: there may be many."""
        dynamic, self._dynamic = self._dynamic, None
        if dynamic is None:
            return
        self._read = await asyncio.to_thread(self._entries_of, dynamic)
        entries = dict(found for found in self._read.values() if found is not None)
        self._gone |= {name for name, entry in self._entries.items() if name not in entries and entry.sent}
        self._gone -= set(entries)
        self._entries = {name: self._entries.get(name, entry) for name, entry in entries.items()}

    def _entries_of(self, dynamic: DynamicConfig) -> dict[str, tuple[str, Entry] | None]:
        read: dict[str, tuple[str, Entry] | None] = {}
        for text in dict.fromkeys(_texts(dynamic)):
            read[text] = self._read[text] if text in self._read else self._entry(text)
        return read

    async def run(self) -> None:
        """Ask the responders, until cancelled."""
        try:
            while True:
                self._changed.clear()
                await self._follow()
                self._end_old()
                await self._send()
                self._ask()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_s()):
                        await self._changed.wait()
        finally:
            for task in self._tasks:
                task.cancel()

    def _entry(self, text: str) -> tuple[str, Entry] | None:
        """A certificate by its fingerprint; None: there is nothing to ask about it."""
        try:
            first, *others = x509.load_pem_x509_certificates(text.encode())
            names = _names_of(first)
        except UNREADABLE:
            return None
        overrides = self._settings.responder_overrides
        urls = [overrides.get(url, url) for url in responders_of(first)]
        if not urls:
            return None
        issuer = issuer_among(first, others)
        if issuer is None:
            _log.warning("no OCSP response for %s: the certificate of its issuer is not in the file behind it", names)
            return None
        return first.fingerprint(hashes.SHA256()).hex(), Entry(first, issuer, urls, names)

    def _end_old(self) -> None:
        now = time.time()
        for name, entry in self._entries.items():
            if entry.staple is not None and entry.staple.ends <= now:
                _log.error("the OCSP response for %s has ended: it is not stapled any more", entry.names)
                self._drop(name, entry)

    def _drop(self, name: str, entry: Entry) -> None:
        entry.staple = None
        if entry.sent:
            entry.sent = False
            self._gone.add(name)

    async def _send(self) -> None:
        """Give the workers what they do not have yet."""
        new = {name: entry for name, entry in self._entries.items() if entry.staple is not None and not entry.sent}
        if not new and not self._gone:
            return
        gone, self._gone = self._gone, set()
        texts = {}
        for name, entry in new.items():
            assert entry.staple is not None
            entry.sent, texts[name] = True, base64.b64encode(entry.staple.data).decode()
        await self._set_staples(texts, sorted(gone - set(texts)))

    def _ask(self) -> None:
        now = time.time()
        for name, entry in self._entries.items():
            if len(self._tasks) >= AT_ONCE:
                return
            if entry.at <= now and not entry.is_asking:
                entry.is_asking = True
                entry.at = now + FIRST_WAIT_S  # whatever becomes of it: a responder is not asked without a pause
                task = asyncio.create_task(self._renew(name, entry))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    async def _renew(self, name: str, entry: Entry) -> None:
        reasons = []
        try:
            for url in entry.urls:
                try:
                    call = functools.partial(_answer, url, entry)
                    data = await self._calls.run(f"ocsp {name} {url}", 2 * ANSWER_S, call)
                    staple = read_response(data, entry.certificate, entry.issuer, time.time())
                except RevokedError:
                    _log.error("the certificate for %s is revoked, says %s", entry.names, url)
                    self._drop(name, entry)
                    self._wait(entry)
                    return
                except (requests.RequestException, BlockedError, ValueError) as error:
                    reasons.append(f"{url}: {_reason(error)}")
                    continue
                entry.staple, entry.sent, entry.failures = staple, False, 0
                spread_s = (staple.ends - staple.due) * random.uniform(0.0, 0.1)
                entry.at = max(staple.due + spread_s, time.time() + LEAST_WAIT_S)
                _log.debug("a new OCSP response for %s, of %s", entry.names, url)
                return
            self._wait(entry)
            text = "no new OCSP response for %s, asking again in %.0f s: %s"
            level = logging.ERROR if entry.staple is None else logging.WARNING
            _log.log(level, text, entry.names, entry.at - time.time(), "; ".join(reasons))
        finally:
            entry.is_asking = False

    def _wait(self, entry: Entry) -> None:
        entry.failures += 1
        wait_s = min(FIRST_WAIT_S * 2 ** min(entry.failures - 1, 16), LONGEST_WAIT_S)
        entry.at = time.time() + wait_s * random.uniform(1.0, 1.1)

    def _rest_s(self) -> float:
        """Until something is due. What is due and not begun waits for the end of another request."""
        now = time.time()
        times = [entry.at for entry in self._entries.values() if not entry.is_asking and entry.at > now]
        times += [entry.staple.ends for entry in self._entries.values() if entry.staple is not None]
        return min(max(min(times, default=now + LOOK_S) - now, 0.05), LOOK_S)


def _answer(url: str, entry: Entry) -> bytes:
    """Ask a responder. Blocks. Raises ValueError and requests.RequestException."""
    headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
    data = request_for(entry.certificate, entry.issuer)
    limits: Any = (CONNECT_S, ANSWER_S)
    with requests.post(url, data, headers=headers, timeout=limits, stream=True, allow_redirects=False) as answer:
        if answer.status_code != 200:
            raise ValueError(f"the responder answers with status {answer.status_code}")
        found = b""
        for piece in answer.iter_content(4096):
            found += piece
            if len(found) > ANSWER_BYTES:
                raise ValueError(f"the answer is longer than {ANSWER_BYTES} bytes")
        return found


def _texts(dynamic: DynamicConfig) -> Iterator[str]:
    tls = dynamic.tls
    yield from (certificate.certificate_text for certificate in tls.certificates if certificate.certificate_text)
    for store in tls.stores.values():
        if store.default_certificate is not None and store.default_certificate.certificate_text:
            yield store.default_certificate.certificate_text


def _names_of(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, *UNREADABLE):
        found = []
    return ", ".join(found) or certificate.subject.rfc4514_string()


def _reason(error: Exception) -> str:
    """One line, without the wrappers of the library."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    inner: Any = error
    while getattr(inner, "args", None) and isinstance(inner.args[0], Exception):
        inner = inner.args[0]
    inner = getattr(inner, "reason", None) or inner
    return " ".join(str(inner).split()) or type(error).__name__
