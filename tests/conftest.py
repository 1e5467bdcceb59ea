"""Settings of all tests."""

from hypothesis import settings

# How long an example takes says how busy the machine is, nothing else.
settings.register_profile("lbcore")
settings.load_profile("lbcore")
