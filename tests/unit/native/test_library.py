"""Shared libraries that are opened at run time."""

from __future__ import annotations

import math
from ctypes import CFUNCTYPE, c_double

import pytest

from lbcore.native.library import SharedLibrary, version_info, version_number, version_text


def test_a_function_is_found_and_can_be_called() -> None:
    address = SharedLibrary("libm.so.6").address("cos")
    assert CFUNCTYPE(c_double, c_double)(address)(0.5) == math.cos(0.5)


def test_a_function_that_is_not_there_has_no_address() -> None:
    assert SharedLibrary("libm.so.6").address("cosinus") == 0


def test_a_library_that_is_not_there_is_refused_with_the_reason() -> None:
    with pytest.raises(OSError, match=r"libnowhere\.so.*cannot open shared object file"):
        SharedLibrary("libnowhere.so")


def test_versions_of_functions_that_are_not_there_are_empty() -> None:
    assert (version_info(0), version_number(0), version_text(0)) == (None, 0, "")
