"""Settings of all tests."""

import functools
import gc
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
# These files take longest. They come first, so that no process is left alone with one of them at the end.
LONG = (
    *("integration/test_acme.py", "load", "stories", "fuzz", "integration/test_publication.py"),
    *("unit/selection", "integration", "differential"),
)

# A shell without job control has SIGINT ignored in what it starts with `&`, and programs that tests start would inherit
# that: one that is to end by the signal would not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first; else the order stays."""

    @functools.cache
    def rank(path: Path) -> int:
        return next((place for place, name in enumerate(LONG) if path.is_relative_to(TESTS / name)), len(LONG))

    items.sort(key=lambda item: rank(item.path))


def pytest_collection_finish() -> None:
    """What was collected stays until the end: tests that search all objects, or free those that are gone, skip it."""
    gc.collect()
    gc.freeze()


# How long an example takes, or is made, says how busy the machine is, nothing else.
settings.register_profile("lbcore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lbcore")

# Under the sanitizers our own processes start through an interpreter that loads them; other people's programs do not.
if "LBCORE_TEST_PYTHON" in os.environ:
    sys.executable = os.environ["LBCORE_TEST_PYTHON"]
    os.environ.pop("LD_PRELOAD", None)
