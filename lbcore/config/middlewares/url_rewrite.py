"""`urlRewrite` (extension): changes the path and the host that the server is asked for. No I/O."""

from pydantic import model_validator

from lbcore.config.middlewares.request_redirect import HostName
from lbcore.config.model import Model


class UrlRewrite(Model):
    """path  in place of all of the path, or of `pathPrefix` if that is given, which ends at a slash."""

    hostname: HostName = ""
    path: str | None = None
    path_prefix: str | None = None

    @model_validator(mode="after")
    def _something(self) -> "UrlRewrite":
        if self.path is None and not self.hostname:
            raise ValueError("needs hostname or path")
        if self.path_prefix is not None and self.path is None:
            raise ValueError("pathPrefix goes with path")
        return self
