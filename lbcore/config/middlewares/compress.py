"""`compress`: answers in the coding that the client prefers. No I/O."""

from lbcore.config.model import Model
from lbcore.config.numbers import OrNone


class Compress(Model):
    """minResponseBodyBytes  0: 1024, as in Traefik."""

    may_be_empty = True

    excluded_content_types: list[str] = []
    included_content_types: list[str] = []
    min_response_body_bytes: OrNone = 0
    encodings: list[str] = ["gzip", "br", "zstd"]
    default_encoding: str = ""
