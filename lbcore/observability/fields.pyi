from lbcore.config.static import AccessLog as AccessLogConfig

class LogFields:
    def __init__(self, settings: AccessLogConfig) -> None: ...
