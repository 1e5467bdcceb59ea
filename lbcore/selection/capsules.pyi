from typing import Any

from lbcore.selection.selector import Selector
from lbcore.selection.wrapper import Wrapper

def capsule(selector: Selector[Any] | Wrapper[Any]) -> object: ...
def get_include() -> str: ...
