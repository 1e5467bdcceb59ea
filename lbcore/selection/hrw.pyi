from typing import Any, Final

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]
def natural_log(numerator: int, denominator: int) -> int:
    """ln(numerator / denominator) with MORE fraction bits, for a ratio from 1 to 2."""
def rounded(value: int) -> int:
    """Round a number with MORE fraction bits to FRACTION of them."""
def fill_tables() -> None: ...
