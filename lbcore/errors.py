"""The one tree of errors. No I/O, imports nothing of lbcore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LbcoreError(Exception):
    """Base of every error lbcore raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration.

    file, line  where (line counts from 1; None when the source has no lines, as environment variables and flags).
    path        dotted path of keys and indexes, e.g. `http.services.web.loadBalancer.servers[0].weight`.
    problem     what is wrong, lower case, with the offending value.
    hint        what to do about it, e.g. the nearest valid key; may be empty.
    """

    path: str
    problem: str
    hint: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = self.file + (f":{self.line}" if self.line is not None else "")
        text = f"{where}: " if where else ""
        text += f"{self.path}: {self.problem}" if self.path else self.problem
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(LbcoreError):
    """A configuration that is refused, with every problem found at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NoServerError(LbcoreError):
    """No server may be picked. Answered with 503."""


class ProtocolError(LbcoreError):
    """A peer broke the protocol. `status` is the HTTP answer, `blame` is `client` or `server`."""

    def __init__(self, status: int, problem: str, blame: str = "client") -> None:
        self.status = status
        self.blame = blame
        super().__init__(problem)


class UpstreamError(LbcoreError):
    """A server could not be talked to. `kind`: refused, timeout, reset, eof, resolve, tls, garbage."""

    def __init__(self, kind: str, problem: str) -> None:
        self.kind = kind
        super().__init__(problem)
