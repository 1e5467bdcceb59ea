"""`apiKey`, an extension: only requests with a known key pass. No I/O."""

from typing import Annotated

from lbcore.config.middlewares.header_names import HeaderName, OwnHeaderName
from lbcore.config.model import SECRETS_OF_NAMES, Model


class ApiKey(Model):
    """keys         `name:key`, or `name:{SHA256}` and the hash of the key in hexadecimal digits.
    keys_file    more of them, one a line; read again when it changes.
    header_name  that has the key; in `Authorization` it stands behind `Bearer`.
    header_field gets the name that the key has here.
    keep_key     servers get the key, too.
    """

    keys: Annotated[list[str], SECRETS_OF_NAMES] = []
    keys_file: str = ""
    header_name: HeaderName = "X-Api-Key"
    header_field: OwnHeaderName = ""
    keep_key: bool = False
    realm: str = ""
