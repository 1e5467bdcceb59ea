"""DNS providers of the library `dns-lexicon`, with lego's names and variables.

The library runs in a separate process, because it sets no timeouts, and its settings are global to a process.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

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


def _route53(environ: Environment) -> Options:
    """Keys are left to boto3, which looks for them where lego does: variables, files, and the roles of a machine."""
    if importlib.util.find_spec("boto3") is None:
        raise ValueError("the DNS provider route53 needs the package boto3: type pip install 'lbcore[route53]'")
    if environ.get("AWS_ASSUME_ROLE_ARN"):
        raise ValueError("AWS_ASSUME_ROLE_ARN is not supported: name a profile with role_arn in AWS_PROFILE")
    is_private = environ.get("AWS_PRIVATE_ZONE").lower() in ("1", "t", "true")
    options = {"private_zone": "true" if is_private else "false"}
    if zone := environ.get("AWS_HOSTED_ZONE_ID"):
        options["zone_id"] = zone
    return options


# lego's name: lexicon's name, the prefix of lego's variables, and the options that they set.
PROVIDERS: dict[str, tuple[str, str, Settings | Callable[[Environment], Options]]] = {
    "auroradns": (
        "aurora", "AURORA", [("auth_api_key", ["AURORA_API_KEY"]), ("auth_secret_key", ["AURORA_SECRET"])],
    ),
    "cloudflare": ("cloudflare", "CLOUDFLARE", _cloudflare),
    "cloudns": (
        "cloudns", "CLOUDNS", [("auth_id", ["CLOUDNS_AUTH_ID"]), ("auth_password", ["CLOUDNS_AUTH_PASSWORD"])],
    ),
    "desec": ("desec", "DESEC", [("auth_token", ["DESEC_TOKEN"])]),
    "digitalocean": ("digitalocean", "DO", [("auth_token", ["DO_AUTH_TOKEN"])]),
    "dnsimple": ("dnsimple", "DNSIMPLE", [("auth_token", ["DNSIMPLE_OAUTH_TOKEN"])]),
    "dnsmadeeasy": (
        "dnsmadeeasy",
        "DNSMADEEASY",
        [("auth_username", ["DNSMADEEASY_API_KEY"]), ("auth_token", ["DNSMADEEASY_API_SECRET"])],
    ),
    "dreamhost": ("dreamhost", "DREAMHOST", [("auth_token", ["DREAMHOST_API_KEY"])]),
    "duckdns": ("duckdns", "DUCKDNS", [("auth_token", ["DUCKDNS_TOKEN"])]),
    "dynu": ("dynu", "DYNU", [("auth_token", ["DYNU_API_KEY"])]),
    "gandiv5": ("gandi", "GANDIV5", _gandi),
    "godaddy": (
        "godaddy", "GODADDY", [("auth_key", ["GODADDY_API_KEY"]), ("auth_secret", ["GODADDY_API_SECRET"])],
    ),
    "hetzner": ("hetzner", "HETZNER", [("auth_token", ["HETZNER_API_TOKEN", "HETZNER_API_KEY"])]),
    "hostingde": ("hostingde", "HOSTINGDE", [("auth_token", ["HOSTINGDE_API_KEY"])]),
    "httpnet": ("httpnet", "HTTPNET", [("auth_token", ["HTTPNET_API_KEY"])]),
    "infomaniak": ("infomaniak", "INFOMANIAK", [("auth_token", ["INFOMANIAK_ACCESS_TOKEN"])]),
    "inwx": ("inwx", "INWX", [("auth_username", ["INWX_USERNAME"]), ("auth_password", ["INWX_PASSWORD"])]),
    "ionos": ("ionos", "IONOS", [("api_key", ["IONOS_API_KEY"])]),
    "linode": ("linode4", "LINODE", [("auth_token", ["LINODE_TOKEN"])]),
    "luadns": (
        "luadns", "LUADNS", [("auth_username", ["LUADNS_API_USERNAME"]), ("auth_token", ["LUADNS_API_TOKEN"])],
    ),
    "namedotcom": (
        "namecom", "NAMECOM", [("auth_username", ["NAMECOM_USERNAME"]), ("auth_token", ["NAMECOM_API_TOKEN"])],
    ),
    "namesilo": ("namesilo", "NAMESILO", [("auth_token", ["NAMESILO_API_KEY"])]),
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
    "regfish": ("regfish", "REGFISH", [("auth_api_key", ["REGFISH_API_KEY"])]),
    "route53": ("route53", "AWS", _route53),
    "safedns": ("safedns", "SAFEDNS", [("auth_token", ["SAFEDNS_AUTH_TOKEN"])]),
    "sakuracloud": (
        "sakuracloud",
        "SAKURACLOUD",
        [("auth_token", ["SAKURACLOUD_ACCESS_TOKEN"]), ("auth_secret", ["SAKURACLOUD_ACCESS_TOKEN_SECRET"])],
    ),
    "scaleway": ("scaleway", "SCALEWAY", [("auth_secret_key", ["SCW_SECRET_KEY", "SCALEWAY_API_TOKEN"])]),
    "transip": (
        "transip",
        "TRANSIP",
        [("auth_username", ["TRANSIP_ACCOUNT_NAME"]), ("auth_api_key", ["TRANSIP_PRIVATE_KEY_PATH"])],
    ),
    "vercel": ("vercel", "VERCEL", [("auth_token", ["VERCEL_API_TOKEN"])]),
    "vultr": ("vultr", "VULTR", [("auth_token", ["VULTR_API_KEY"])]),
}  # fmt: skip


# By lexicon's name: the TTL of those that refuse the usual one, or may, and the limit of those that propagate slowly.
LEAST_TTL_S = {"aurora": 300, "dynu": 300, "gandi": 300, "luadns": 300, "namecom": 300, "namesilo": 3600}
TIMEOUT_S = 120.0
TIMEOUTS_S = {"dreamhost": 3600.0, "dynu": 180.0, "namecom": 900.0, "namesilo": 1200.0, "transip": 600.0}


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
        self.timeout_s = TIMEOUTS_S.get(self._name, TIMEOUT_S)
        self.set_times(environ, prefix)

    def present(self, record: Record, stop: Stop) -> None:
        """Create the record."""
        self._call("create", record)

    def clean(self, record: Record) -> None:
        """Delete the record."""
        self._call("delete", record)

    def _details(self, record: Record) -> dict[str, Any]:
        """More that the call needs. Raises OrderError."""
        return {}

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
            **self._details(record),
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
