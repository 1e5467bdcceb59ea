from typing import Any, Final

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]
def natural_log(numerator: int, denominator: int) -> int:
    """ln(numerator / denominator) with MORE bits behind the point, of a ratio from 1 to 2."""
def rounded(value: int) -> int:
    """From MORE bits behind the point to FRACTION."""
def fill_tables() -> None: ...
