from lbcore.config.static import AccessLog as AccessLogConfig
from lbcore.state.region import Region

class AccessLog:
    def __init__(self, settings: AccessLogConfig, region: Region, worker: int) -> None: ...
    @property
    def pending_bytes(self) -> int: ...
