"""All exceptions of lbcore, and what messages for users say of any exception. No I/O; imports nothing of lbcore."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "disabled", "missing", "warning"]

# errno values of resources that this process or machine lacks (descriptors, memory, ports): no failure of a server.
OUR_LACK = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC, errno.EADDRNOTAVAIL})


class LbcoreError(Exception):
    """The base of all exceptions that lbcore raises intentionally."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a configuration.

    file, line  its place (line counts from 1; None if the source has no lines, as environment variables and flags).
    path        dotted path of keys and indexes, e.g. `http.services.web.loadBalancer.servers[0].weight`.
    problem     what is wrong, lower case, with the offending value.
    hint        what to do about it, e.g. the nearest valid key; may be empty.
    severity    error: the configuration is refused. disabled: an object of it cannot run. missing: something cannot run
                because lbcore lacks the feature. warning: everything runs.
    object      dotted path of the object (router, service, ...) that it is a part of, and where that begins.
    """

    path: str
    problem: str
    hint: str = ""
    file: str = ""
    line: int | None = None
    severity: Severity = "error"
    object: str = ""
    object_line: int | None = None

    def __str__(self) -> str:
        return self._text(self.path)

    def inside(self) -> str:
        """The same without the name of the object."""
        return self._text(self.key)

    @property
    def key(self) -> str:
        """The path below the object."""
        return self.path.removeprefix(self.object).lstrip("./") if self.object else self.path

    def _text(self, path: str) -> str:
        where = self.file + (f":{self.line}" if self.line is not None else "")
        text = f"{where}: " if where else ""
        text += f"{path}: {self.problem}" if path else self.problem
        return f"{text} ({self.hint})" if self.hint else text


class PartProblem(str):
    """What is wrong with a part of a configuration, as a line. Its other parts run."""


class ConfigError(LbcoreError):
    """A configuration is refused, with all problems found, and what there is to warn of beside them."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NoServerError(LbcoreError):
    """No server may be picked. Answered with 503."""


def message_of(error: BaseException) -> str:
    """What an exception says, in one line; the name of its type if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def typed_message_of(error: BaseException) -> str:
    """The type of an exception, and what it says, in one line: for one that nobody has expected."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def system_message_of(error: OSError) -> str:
    """What the system says of a call that failed, in lower case, as messages are."""
    return (error.strerror or str(error)).lower()
