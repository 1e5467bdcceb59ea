"""`python -m lbcore.acme.dns.lexicon_call`: one call of dns-lexicon, which JSON on standard input describes."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import warnings
from urllib.parse import quote_plus

from lbcore.errors import typed_message_of

ANSWER_S = 30.0  # limit between two reads from the provider's server
PUBLIC = frozenset({"api_protocol", "private_zone", "zone_id"})  # options that are no secrets


class _Said(logging.Handler):
    """Keeps the last error that lexicon logged, as some of its providers log an error instead of raising it."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def main() -> int:
    """Returns the exit code. An error is one line on standard error, without settings."""
    warnings.simplefilter("ignore")
    said = _Said(logging.ERROR)
    logging.getLogger().addHandler(said)
    call = json.load(sys.stdin)
    socket.setdefaulttimeout(ANSWER_S)
    if region := os.environ.get("AWS_REGION"):
        os.environ.setdefault("AWS_DEFAULT_REGION", region)  # boto3's name of lego's variable
    import dns.resolver
    from lexicon.client import Client
    from lexicon.config import ConfigResolver

    if call["servers"]:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [call["servers"][0][0]], call["servers"][0][1]
        dns.resolver.default_resolver = resolver
    settings = {
        "provider_name": call["provider"],
        "domain": call["zone"],
        "resolve_zone_name": True,
        "delegated": call.get("delegated", ""),  # the domain that the provider knows, if it is not the zone
        "ttl": call["ttl"],
        call["provider"]: call["options"],
    }
    try:
        with Client(ConfigResolver().with_dict(settings)) as client:  # type: ignore[no-untyped-call]
            if call["action"] == "create":
                done = client.create_record("TXT", call["name"], call["value"])
            else:
                done = client.delete_record(call.get("identifier"), "TXT", call["name"], call["value"])
        text = "" if done else f"it says that it has failed{said.text and ': '}{said.text}"
    except Exception as error:
        text = typed_message_of(error)
    for option, secret in call["options"].items():
        if option not in PUBLIC:
            for written in (secret, quote_plus(secret)):  # errors may name a URL with it
                text = text.replace(written, "...")
    sys.stderr.write(text)
    return 1 if text else 0


if __name__ == "__main__":
    sys.exit(main())
