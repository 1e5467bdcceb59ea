"""DNS providers of the library `dns-lexicon`, with lego's names and variables.

The library runs in a separate process, because it sets no timeouts, and its settings are global to a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence

from lbcore.acme.dns.base import TTL_S, DnsProvider, Environment, MissingVariableError, Record
from lbcore.acme.dns.lookup import Lookup, LookupError_
from lbcore.acme.solving import OrderError, Stop

CALL_S = 90.0  # limit for a call
LONGEST_LINE = 300

Options = dict[str, str]
Settings = Sequence[tuple[str, Sequence[str]]]  # options of lexicon, each with the variables that set it


def _cloudflare(environ: Environment) -> Options:
    if token := environ.get("CLOUDFLARE_DNS_API_TOKEN", "CF_DNS_API_TOKEN"):
        return {"auth_token": token}
    if environ.get("CLOUDFLARE_API_KEY", "CF_API_KEY"):
        user = environ.need("CLOUDFLARE_EMAIL", "CF_API_EMAIL")
        return {"auth_username": user, "auth_token": environ.need("CLOUDFLARE_API_KEY", "CF_API_KEY")}
    raise MissingVariableError("the environment variable CLOUDFLARE_DNS_API_TOKEN or CF_DNS_API_TOKEN is missing")


def _gandi(environ: Environment) -> Options:
    return {"auth_token": environ.need("GANDIV5_PERSONAL_ACCESS_TOKEN", "GANDIV5_API_KEY"), "api_protocol": "rest"}


# lego's name: lexicon's name, the prefix of lego's variables, and the options that they set.
PROVIDERS: dict[str, tuple[str, str, Settings | Callable[[Environment], Options]]] = {
    "cloudflare": ("cloudflare", "CLOUDFLARE", _cloudflare),
    "cloudns": (
        "cloudns", "CLOUDNS", [("auth_id", ["CLOUDNS_AUTH_ID"]), ("auth_password", ["CLOUDNS_AUTH_PASSWORD"])],
    ),
    "desec": ("desec", "DESEC", [("auth_token", ["DESEC_TOKEN"])]),
    "digitalocean": ("digitalocean", "DO", [("auth_token", ["DO_AUTH_TOKEN"])]),
    "dnsimple": ("dnsimple", "DNSIMPLE", [("auth_token", ["DNSIMPLE_OAUTH_TOKEN"])]),
    "gandiv5": ("gandi", "GANDIV5", _gandi),
    "godaddy": (
        "godaddy", "GODADDY", [("auth_key", ["GODADDY_API_KEY"]), ("auth_secret", ["GODADDY_API_SECRET"])],
    ),
    "hetzner": ("hetzner", "HETZNER", [("auth_token", ["HETZNER_API_TOKEN", "HETZNER_API_KEY"])]),
    "infomaniak": ("infomaniak", "INFOMANIAK", [("auth_token", ["INFOMANIAK_ACCESS_TOKEN"])]),
    "inwx": ("inwx", "INWX", [("auth_username", ["INWX_USERNAME"]), ("auth_password", ["INWX_PASSWORD"])]),
    "ionos": ("ionos", "IONOS", [("api_key", ["IONOS_API_KEY"])]),
    "linode": ("linode4", "LINODE", [("auth_token", ["LINODE_TOKEN"])]),
    "netcup": (
        "netcup",
        "NETCUP",
        [
            ("auth_customer_id", ["NETCUP_CUSTOMER_NUMBER"]),
            ("auth_api_key", ["NETCUP_API_KEY"]),
            ("auth_api_password", ["NETCUP_API_PASSWORD"]),
        ],
    ),
    "njalla": ("njalla", "NJALLA", [("auth_token", ["NJALLA_TOKEN"])]),
    "ns1": ("nsone", "NS1", [("auth_token", ["NS1_API_KEY"])]),
    "ovh": (
        "ovh",
        "OVH",
        [
            ("auth_entrypoint", ["OVH_ENDPOINT"]),
            ("auth_application_key", ["OVH_APPLICATION_KEY"]),
            ("auth_application_secret", ["OVH_APPLICATION_SECRET"]),
            ("auth_consumer_key", ["OVH_CONSUMER_KEY"]),
        ],
    ),
    "pdns": ("powerdns", "PDNS", [("auth_token", ["PDNS_API_KEY"]), ("pdns_server", ["PDNS_API_URL"])]),
    "porkbun": (
        "porkbun", "PORKBUN", [("auth_key", ["PORKBUN_API_KEY"]), ("auth_secret", ["PORKBUN_SECRET_API_KEY"])],
    ),
    "scaleway": ("scaleway", "SCALEWAY", [("auth_secret_key", ["SCW_SECRET_KEY", "SCALEWAY_API_TOKEN"])]),
    "vercel": ("vercel", "VERCEL", [("auth_token", ["VERCEL_API_TOKEN"])]),
    "vultr": ("vultr", "VULTR", [("auth_token", ["VULTR_API_KEY"])]),
}  # fmt: skip


LEAST_TTL_S = {"gandi": 300}  # by lexicon's name, of those that refuse less than the usual TTL


class LexiconProvider(DnsProvider):
    """One of PROVIDERS. Raises ValueError for missing variables."""

    sequential = False

    def __init__(self, name: str, environ: Environment, lookup: Lookup) -> None:
        self._name, prefix, settings = PROVIDERS[name]
        self._lookup = lookup
        if callable(settings):
            self._options = settings(environ)
        else:
            self._options = {option: environ.need(*variables) for option, variables in settings}
        self._ttl = int(environ.seconds(f"{prefix}_TTL", max(TTL_S, LEAST_TTL_S.get(self._name, 0))))
        self.timeout_s = 120.0
        self.set_times(environ, prefix)

    def present(self, record: Record, stop: Stop) -> None:
        """Create the record."""
        self._call("create", record)

    def clean(self, record: Record) -> None:
        """Delete the record."""
        self._call("delete", record)

    def _call(self, action: str, record: Record) -> None:
        try:
            zone, servers = self._lookup.zone_of(record.name).rstrip("."), self._lookup.servers
        except LookupError_ as error:
            raise OrderError(str(error), is_temporary=True) from None
        call = {
            "provider": self._name,
            "zone": zone,
            "action": action,
            "name": record.name.rstrip("."),
            "value": record.value,
            "ttl": self._ttl,
            "options": self._options,
            "servers": servers,
        }
        command = [sys.executable, "-P", "-m", "lbcore.acme.dns.lexicon_call"]
        try:
            done = subprocess.run(command, input=json.dumps(call).encode(), capture_output=True, timeout=CALL_S)
        except subprocess.TimeoutExpired:
            raise OrderError(f"{self._name} has not answered within {CALL_S:g} s", is_temporary=True) from None
        except OSError as error:
            raise OrderError(f"{self._name}: {error}", is_temporary=True) from None
        if done.returncode:
            said = " ".join(done.stderr.decode(errors="replace").split())[-LONGEST_LINE:]
            raise OrderError(f"{self._name}, zone {zone}: {said}")
