"""The providers `exec` and `httpreq` of lego: a program, or a web server, creates the records."""

from __future__ import annotations

import subprocess
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from lbcore.acme.dns.base import DnsProvider, Environment, Record
from lbcore.acme.solving import OrderError, Stop
from lbcore.errors import system_message_of

PROGRAM_S = 120.0  # limit for a run of the program
LONGEST_LINE = 300


class ExecProvider(DnsProvider):
    """Runs EXEC_PATH with `present` or `cleanup`, and name and value; in RAW mode domain, token and authorization."""

    def __init__(self, environ: Environment) -> None:
        self._path = environ.need("EXEC_PATH")
        self._raw = environ.get("EXEC_MODE") == "RAW"
        self.sequential = bool(environ.get("EXEC_SEQUENCE_INTERVAL"))
        self.set_times(environ, "EXEC")

    def present(self, record: Record, stop: Stop) -> None:
        """Run the program."""
        self._run("present", record)

    def clean(self, record: Record) -> None:
        """Run the program."""
        self._run("cleanup", record)

    def _run(self, command: str, record: Record) -> None:
        arguments = [record.name, record.value]
        if self._raw:
            arguments = ["--", record.challenge.name, record.challenge.token, record.challenge.authorization]
        try:
            done = subprocess.run(
                [self._path, command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROGRAM_S
            )
        except subprocess.TimeoutExpired:
            raise OrderError(f"{self._path} {command}: not done within {PROGRAM_S:g} s", is_temporary=True) from None
        except OSError as error:
            raise OrderError(f"{self._path} cannot be run: {system_message_of(error)}") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())[:LONGEST_LINE]
            raise OrderError(f"{self._path} {command}: exit code {done.returncode}{': ' if said else ''}{said}")


class HttpreqProvider(DnsProvider):
    """Posts to HTTPREQ_ENDPOINT/present and /cleanup."""

    def __init__(self, environ: Environment) -> None:
        self._endpoint = environ.need("HTTPREQ_ENDPOINT")
        if urlsplit(self._endpoint).scheme not in ("http", "https"):
            raise ValueError(f"HTTPREQ_ENDPOINT: {self._endpoint!r} is not a URL")
        self._raw = environ.get("HTTPREQ_MODE") == "RAW"
        user, password = environ.get("HTTPREQ_USERNAME"), environ.get("HTTPREQ_PASSWORD")
        self._auth = (user, password) if user and password else None
        self._limit_s = environ.seconds("HTTPREQ_HTTP_TIMEOUT", 30.0)
        self.set_times(environ, "HTTPREQ")

    def present(self, record: Record, stop: Stop) -> None:
        """Post the record."""
        self._post("present", record)

    def clean(self, record: Record) -> None:
        """Post the record."""
        self._post("cleanup", record)

    def _post(self, command: str, record: Record) -> None:
        challenge = record.challenge
        content: dict[str, Any] = {"fqdn": record.name, "value": record.value}
        if self._raw:
            content = {"domain": challenge.name, "token": challenge.token, "keyAuth": challenge.authorization}
        url = urljoin(self._endpoint.rstrip("/") + "/", command)
        try:
            answer = requests.post(url, json=content, auth=self._auth, timeout=self._limit_s)
        except requests.RequestException as error:
            raise OrderError(f"{url}: {error}", is_temporary=True) from None
        if not answer.ok:
            said = " ".join(answer.text.split())[:LONGEST_LINE]
            raise OrderError(f"{url}: {answer.status_code} {said}")
