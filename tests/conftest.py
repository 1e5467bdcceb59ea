"""Settings of all tests."""

import os
import sys

from hypothesis import settings

# How long an example takes says how busy the machine is, nothing else.
settings.register_profile("lbcore", deadline=None)
settings.load_profile("lbcore")

# Under the sanitizers our own processes start through an interpreter that loads them; other people's programs do not.
if "LBCORE_TEST_PYTHON" in os.environ:
    sys.executable = os.environ["LBCORE_TEST_PYTHON"]
    os.environ.pop("LD_PRELOAD", None)
