"""Work in threads at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable


def together(*work: Callable[[], None]) -> None:
    """Have each done in a thread of its own, to its end. What they raise is raised, as a group."""
    errors: list[Exception] = []

    def run(each: Callable[[], None]) -> None:
        try:
            each()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise ExceptionGroup("in threads", errors)
