"""`grpcWeb`: gRPC for browsers, which know neither trailers nor HTTP/2 frames. No I/O."""

from lbcore.config.model import Model


class GrpcWeb(Model):
    """allowOrigins  that pages may come from; `*`: any."""

    allow_origins: list[str] = []
