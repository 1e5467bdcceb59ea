"""`python -m lbcore.acme.dns.lexicon_call`: one call of dns-lexicon, which JSON on standard input describes."""

from __future__ import annotations

import json
import socket
import sys
import warnings

from lbcore.errors import typed_message_of

ANSWER_S = 30.0  # limit between two reads from the provider's server


def main() -> int:
    """Returns the exit code. An error is one line on standard error, without settings."""
    warnings.simplefilter("ignore")
    call = json.load(sys.stdin)
    socket.setdefaulttimeout(ANSWER_S)
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
        "ttl": call["ttl"],
        call["provider"]: call["options"],
    }
    try:
        with Client(ConfigResolver().with_dict(settings)) as client:  # type: ignore[no-untyped-call]
            if call["action"] == "create":
                done = client.create_record("TXT", call["name"], call["value"])
            else:
                done = client.delete_record(None, "TXT", call["name"], call["value"])
    except Exception as error:
        text = typed_message_of(error)
        for secret in call["options"].values():
            text = text.replace(secret, "...")
        sys.stderr.write(text)
        return 1
    if not done:
        sys.stderr.write("it says that it has failed")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
