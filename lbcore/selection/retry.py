"""Retries: attempts at different servers, never at the same one twice for a request, within a budget. No I/O, no sleep.

    for attempt in Retry(lb, key, budget=budget):
        with attempt as server:
            answer = call(server)
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Container, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from lbcore.errors import NoServerError
from lbcore.selection.selector import Selector

if TYPE_CHECKING:
    from lbcore.selection.lease import Lease
    from lbcore.selection.selector import Key

S = TypeVar("S")

MOST_ATTEMPTS = 1000


class RetryBudget:
    """Retries in proportion to requests, so that retries do not multiply the load of failing servers. Thread-safe.

    ratio    of retries to requests.
    reserve  retries in stock at first, and at most: each request adds `ratio`, each retry takes one.
    Raises TypeError or ValueError.
    """

    def __init__(self, ratio: float = 0.2, reserve: float = 10.0) -> None:
        for name, value in (("ratio", ratio), ("reserve", reserve)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"the {name} of a budget has to be a number, not {value!r}")
            if not 0 <= value < math.inf:
                raise ValueError(f"the {name} of a budget has to be a finite number, 0 at least, not {value!r}")
        self.ratio = ratio
        self.reserve = self.stock = float(reserve)
        self._lock = threading.Lock()

    def request(self) -> None:
        """Count a request."""
        with self._lock:
            self.stock = min(self.reserve, self.stock + self.ratio)

    def retry(self) -> bool:
        """Take a retry from the stock. Returns False if none is left."""
        with self._lock:
            if self.stock < 1:
                return False
            self.stock -= 1
            return True


class Retry(Generic[S]):
    """The attempts at a request: iterate over it, and use each item as a context manager, plain or asynchronous.

    selector  picks the servers; its leases report the outcome of each attempt.
    key, accept, exclude, cost  as for `Selector.lease`.
    attempts  the highest number of attempts, at different servers (3); 1 = no retries.
    retry_on  the exceptions that lead to another attempt: a type, a tuple of types, or a function of the exception.
              Only the caller knows which requests may be sent twice, and after which exceptions.
    budget    a RetryBudget, shared by all requests to these servers; None: `attempts` is the only limit.
    The exception of the last attempt is raised, as is one after which no other server may be picked. The first attempt
    raises NoServerError if no server may be picked at all. Each iteration is a request of its own.
    """

    def __init__(
        self,
        selector: Selector[S],
        key: Key | None = None,
        *,
        attempts: int = 3,
        retry_on: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], object] = Exception,
        budget: RetryBudget | None = None,
        accept: Callable[[S], object] | None = None,
        exclude: Container[object] = (),
        cost: int = 1,
    ) -> None:
        if not isinstance(selector, Selector):
            raise TypeError(f"a selector is needed, not {selector!r}")
        types = retry_on if isinstance(retry_on, tuple) else (retry_on,)
        if not all(isinstance(each, type) and issubclass(each, BaseException) for each in types) and (
            isinstance(retry_on, (type, tuple)) or not callable(retry_on)
        ):
            raise TypeError(f"retry_on has to be a type of exceptions, several, or a function, not {retry_on!r}")
        if budget is not None and not isinstance(budget, RetryBudget):
            raise TypeError(f"the budget has to be a RetryBudget, not {budget!r}")
        if accept is not None and not callable(accept):
            raise TypeError(f"accept has to be a function, not {accept!r}")
        if isinstance(attempts, bool) or not isinstance(attempts, int):
            raise TypeError(f"attempts have to be an int, not {attempts!r}")
        if not 1 <= attempts <= MOST_ATTEMPTS:
            raise ValueError(f"attempts have to be between 1 and {MOST_ATTEMPTS}, not {attempts}")
        self.selector = selector
        self.key = key
        self.attempts = attempts
        self.budget = budget
        self.cost = cost
        self._accept = accept
        self._exclude: Container[object] = (exclude,) if isinstance(exclude, (str, bytes)) else exclude
        self._retry_on = retry_on

    def __iter__(self) -> Iterator[Attempt[S]]:
        if self.budget is not None:
            self.budget.request()
        tried: list[S] = []
        lease = self._lease(tried)
        while True:
            tried.append(lease.server)
            attempt = Attempt(self, lease, tried)
            try:
                yield attempt
            finally:
                lease.forget()  # has an effect only if the attempt's block was not entered
            if attempt._following is None:
                return
            lease = attempt._following

    def _lease(self, tried: list[S]) -> Lease[S]:
        """A lease of a server that was not tried. Raises NoServerError."""
        exclude = self._exclude
        return self.selector.lease(
            self.key,
            accept=self._accept,
            exclude=_Both(tried, exclude),
            cost=self.cost,
        )

    def _retries(self, error: BaseException) -> bool:
        """Whether this exception leads to another attempt."""
        if not isinstance(error, Exception):
            return False
        if isinstance(self._retry_on, (type, tuple)):
            return isinstance(error, self._retry_on)
        return bool(self._retry_on(error))

    def _next(self, error: BaseException, tried: list[S]) -> Lease[S] | None:
        """The lease for the attempt after a failed one; None if there is no further attempt."""
        if len(tried) >= self.attempts or not self._retries(error):
            return None
        try:
            lease = self._lease(tried)
        except NoServerError:
            return None
        if self.budget is not None and not self.budget.retry():
            lease.forget()
            return None
        return lease


class _Both(Container[object]):
    """The union of two containers."""

    def __init__(self, one: Container[object], other: Container[object]) -> None:
        self.one = one
        self.other = other

    def __contains__(self, server: object) -> bool:
        return server in self.one or server in self.other


class Attempt(Generic[S]):
    """One attempt at a request: a context manager that returns the server, and for which an exception is a failure.

    number  1 for the first attempt.
    server  the server of this attempt.
    tried   the servers of all attempts so far, including this one.
    """

    def __init__(self, owner: Retry[S], lease: Lease[S], tried: list[S]) -> None:
        self.number = len(tried)
        self.server: S = lease.server
        self.tried = tuple(tried)
        self._owner = owner
        self._lease = lease
        self._following: Lease[S] | None = None

    def __enter__(self) -> S:
        return self.server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._lease.__exit__(kind, error, traceback)
        if error is not None:
            self._following = self._owner._next(error, list(self.tried))
        return self._following is not None

    async def __aenter__(self) -> S:
        return self.server

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return self.__exit__(kind, error, traceback)
