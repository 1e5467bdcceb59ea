"""How long the fuzz tests try, and from where: `make fuzz` sets both.

LBCORE_FUZZ_FACTOR  times as long as in the usual run
LBCORE_FUZZ_SEED    of what is drawn at random
"""

import os

FACTOR = float(os.environ.get("LBCORE_FUZZ_FACTOR", "1"))
SEED = int(os.environ.get("LBCORE_FUZZ_SEED", "1"))


def seconds(usual: float) -> float:
    """Seconds of a test that usually takes `usual`."""
    return usual * FACTOR


def examples(usual: int) -> int:
    """Examples of a test that usually tries `usual`."""
    return max(1, int(usual * FACTOR))
