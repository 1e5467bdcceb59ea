"""The interface of DNS providers, and their settings: the environment variables of lego."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lbcore.acme.solving import Challenge, Stop
from lbcore.config.regular import read_regular

TIMEOUT_S = 60.0
INTERVAL_S = 2.0
TTL_S = 120


@dataclass(frozen=True)
class Record:
    """A TXT record that answers a challenge. `name` ends with a dot."""

    name: str
    value: str
    challenge: Challenge


class MissingVariableError(ValueError):
    """A setting is missing that may be there where lbcore is to run."""


class Environment:
    """Environment variables. `NAME_FILE` may name a file with the value of NAME, as in lego."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def get(self, *names: str) -> str:
        """The first value that is set, or an empty text. Raises ValueError for a file that cannot be read."""
        for name in names:
            if value := self._variables.get(name, ""):
                return value
            if file := self._variables.get(f"{name}_FILE", ""):
                try:
                    return read_regular(file).data.decode().strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise ValueError(f"{name}_FILE: {file} cannot be read: {error}") from None
        return ""

    def need(self, *names: str) -> str:
        """The first value that is set. Raises MissingVariableError if none is."""
        if not (value := self.get(*names)):
            raise MissingVariableError(f"the environment variable {' or '.join(names)} is missing")
        return value

    def seconds(self, name: str, default: float) -> float:
        """A variable as a number of seconds. Raises ValueError."""
        value = self.get(name)
        try:
            return float(value.removesuffix("s")) if value else default
        except ValueError:
            raise ValueError(f"{name}: {value!r} is no number of seconds") from None


class DnsProvider:
    """Creates records in the DNS. Methods block.

    timeout_s   limit until a record has propagated.
    interval_s  time between two checks.
    sequential  create one record at a time, and wait until it has propagated.
    pause_s     None, or there is a place for one record only, as all names of a domain share it: a record is there from
                `present` to `clean`, and this pause follows, in which caches forget it.
    """

    timeout_s = TIMEOUT_S
    interval_s = INTERVAL_S
    sequential = False
    pause_s: float | None = None

    def set_times(self, environ: Environment, prefix: str) -> None:
        """Read the times from lego's variables. Raises ValueError."""
        self.timeout_s = environ.seconds(f"{prefix}_PROPAGATION_TIMEOUT", self.timeout_s)
        self.interval_s = max(environ.seconds(f"{prefix}_POLLING_INTERVAL", self.interval_s), 0.1)

    def present(self, record: Record, stop: Stop) -> None:
        """Create a record. Raises OrderError."""
        raise NotImplementedError

    def clean(self, record: Record) -> None:
        """Delete a record. Raises OrderError."""
        raise NotImplementedError
