from lbcore.observability.access_log import AccessLog
from lbcore.observability.header_labels import HeaderLabels
from lbcore.observability.series import Series

class Observer:
    def __init__(
        self,
        series: Series | None = None,
        log: AccessLog | None = None,
        by_entry_point: bool = True,
        by_router: bool = False,
        by_service: bool = True,
        tells_attempts: bool = False,
        labels: HeaderLabels | None = None,
    ) -> None: ...
    def tell_attempts(self, told: bool) -> None: ...
