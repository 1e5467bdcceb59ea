"""`digestAuth`: only requests of known users pass, who prove their password without sending it. No I/O."""

import re
from collections.abc import Iterator
from typing import Annotated

from lbcore.config.middlewares.basic_auth import Users
from lbcore.config.model import SECRETS_OF_REALMS

_DIGEST = re.compile(r"[0-9a-f]{32}")


class DigestAuth(Users):
    users: Annotated[list[str], SECRETS_OF_REALMS] = []

    def without_effect(self) -> Iterator[str]:
        """Users that no password lets in, as in Traefik."""
        realm = self.realm or "traefik"
        for text in self.users:
            name, _, rest = text.partition(":")
            of, _, digest = rest.partition(":")
            if of != realm:
                yield f"digestAuth.users: {name!r} is of realm {of!r}, and does not come in here, where it is {realm!r}"
            elif not _DIGEST.fullmatch(digest):
                yield f"digestAuth.users: no password lets {name!r} in: what follows the realm is not MD5 in lower case"
