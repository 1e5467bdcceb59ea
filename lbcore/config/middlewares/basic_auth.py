"""`basicAuth`: only requests of known users pass, with name and password. No I/O."""

from collections.abc import Iterator
from typing import Annotated

from lbcore.config.middlewares.header_names import OwnHeaderName
from lbcore.config.model import SECRETS_OF_NAMES, Model
from lbcore.passwords.hashes import kind_of


class Users(Model):
    """Who may come in: `users`, and those of `users_file`, which is read again when it changes."""

    users: Annotated[list[str], SECRETS_OF_NAMES] = []
    users_file: str = ""
    realm: str = ""
    remove_header: bool = False
    header_field: OwnHeaderName = ""


class BasicAuth(Users):
    def without_effect(self) -> Iterator[str]:
        """Users that no password lets in, as in Traefik."""
        for text in self.users:
            name, _, stored = text.partition(":")
            if not kind_of(stored.encode()):
                kinds = "bcrypt, apr1, SHA1, SHA-256, SHA-512 or Argon2"
                yield f"basicAuth.users: no password lets {name!r} in: what follows its colon is no hash ({kinds})"
