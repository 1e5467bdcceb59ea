from typing import Any

from lbcore.config.middlewares.rate_limit import RedisLimit
from lbcore.middleware.base import Middleware
from lbcore.store.redis import Settings

def delay_text(delay_ns: int) -> str: ...
def settings_of(redis: RedisLimit) -> Settings: ...

class RateLimit(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
