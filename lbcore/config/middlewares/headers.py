"""`headers`: headers of requests and answers, CORS, security headers for browsers. No I/O."""

import re
from typing import Any

from pydantic import Field

from lbcore.config.model import Change, Model, keys
from lbcore.config.numbers import Seconds, Size

GONE = "gone since Traefik 3"
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Headers of one connection, and headers that delimit a message: lbcore writes its own.
OF_CONNECTIONS = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "transfer-encoding",
        "content-length",
        "proxy-authenticate",
        "proxy-authorization",
    }
)


class Headers(Model):
    """Headers to set or, with an empty value, to delete; CORS; security headers for browsers."""

    ignored = {
        **keys("sslRedirect sslTemporaryRedirect", f"{GONE}: use redirectScheme, or redirections of the entry point"),
        **keys("sslHost sslForceHost", f"{GONE}: use redirectRegex"),
        **keys("featurePolicy", f"{GONE}: use permissionsPolicy"),
    }

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """Remove the headers that lbcore itself writes (OF_CONNECTIONS), and those of answers whose names are none."""
        changes = []
        of_answers = data.get("customResponseHeaders", {})
        for name in [name for name in of_answers if not NAME.fullmatch(name)]:
            del of_answers[name]
            text = f"{name!r} is not the name of a header, and is left out"
            changes.append(Change("customResponseHeaders", text, "write letters, digits and dashes"))
        for key in ("customRequestHeaders", "customResponseHeaders"):
            lines = data.get(key, {})
            for name in [name for name in lines if name.lower() in OF_CONNECTIONS]:
                del lines[name]
                changes.append(Change(f"{key}.{name}", "ignored", "lbcore writes it as the connection needs it"))
            if key in data and not lines:
                del data[key]
        return changes

    custom_request_headers: dict[str, str] = {}
    custom_response_headers: dict[str, str] = {}

    access_control_allow_credentials: bool = False
    access_control_allow_headers: list[str] = []
    access_control_allow_methods: list[str] = []
    access_control_allow_origin_list: list[str] = []
    access_control_allow_origin_list_regex: list[str] = []
    access_control_expose_headers: list[str] = []
    access_control_max_age: Seconds | None = None
    add_vary_header: bool = False

    allowed_hosts: list[str] = []
    hosts_proxy_headers: list[str] = []
    ssl_proxy_headers: dict[str, str] = {}
    sts_seconds: Size = 0
    sts_include_subdomains: bool = False
    sts_preload: bool = False
    force_sts_header: bool = Field(default=False, alias="forceSTSHeader")
    frame_deny: bool = False
    custom_frame_options_value: str = ""
    content_type_nosniff: bool = False
    browser_xss_filter: bool = False
    custom_browser_xss_value: str = Field(default="", alias="customBrowserXSSValue")
    content_security_policy: str = ""
    content_security_policy_report_only: str = ""
    public_key: str = ""
    referrer_policy: str = ""
    permissions_policy: str = ""
    is_development: bool = False

    def without_effect(self) -> list[str]:
        """Lines that are not set, and why."""
        lines = [("customRequestHeaders", name) for name in self.custom_request_headers]
        lines += [("customResponseHeaders", name) for name in self.custom_response_headers]
        return [
            f"{option}.{name} has no effect: it belongs to the connection"
            for option, name in lines
            if name.lower() in OF_CONNECTIONS
        ]
