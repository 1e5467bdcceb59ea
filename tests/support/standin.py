"""`python -m tests.support.standin`: a worker whose data plane cannot be made."""

from __future__ import annotations

import sys
from typing import Any

from lbcore.process import worker


def fail(*args: Any) -> Any:
    raise RuntimeError("told to fail")


if __name__ == "__main__":
    sys.exit(worker.main(factory=fail))
