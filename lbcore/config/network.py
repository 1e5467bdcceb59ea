"""Addresses in configuration: listeners, networks, URLs of servers. No I/O."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

UNIX = "unix:"
REDIS = ("redis://", "rediss://", "unix://")
REMEMBERED = 1 << 15  # URLs: those of a configuration are looked at again and again, and with the next one
PORTS = {"http": 80, "https": 443, "h2c": 80}  # of URLs without one
_PLACEHOLDER = re.compile(r"[$<>{}]|%[A-Z_]+%")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"[^\s\x00-\x20\x7f\"#$&'()*+,/;<=>?@\\^`{|}]+")


def is_redis(text: str) -> bool:
    """Whether the place of something that instances share is the URL of a Redis; otherwise it is a file."""
    return text.startswith(REDIS)


def check_address(value: Any) -> str:
    """The address of an entry point: `[host]:port[/tcp|/udp]` or `unix:/path`. Raises ValueError with the reason."""
    text = str(value) or ":0"
    if text.startswith(UNIX):
        if not text.removeprefix(UNIX):
            raise ValueError("no path in the address of a unix socket: write unix:/run/lbcore.sock")
        return text
    address, _, protocol = text.partition("/")
    if protocol.lower() not in ("", "tcp", "udp"):
        raise ValueError(f"{text!r}: unknown protocol {protocol!r}")
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port: write {f':{address}' if address.isdigit() else f'{address}:80'}")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r}: {port!r} is not a port")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, e.g. [::1]:80")
    return address + (f"/{protocol.lower()}" if protocol else "")


def check_network(value: str) -> str:
    """An IP address or a network in CIDR form. Raises ValueError."""
    value = value.strip()
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is neither an IP address nor a network such as 10.0.0.0/8") from None
    return value


def check_networks(values: list[str]) -> list[str]:
    """`check_network` for each of them."""
    return [check_network(value) for value in values]


NetworkList = Annotated[list[str], AfterValidator(check_networks)]


def port_of(address: str) -> str:
    """The port in the address of an entry point, as configured or as bound; empty: it is a Unix socket."""
    return "" if address.startswith(UNIX) else address.rpartition(":")[2].partition("/")[0]


@lru_cache(maxsize=REMEMBERED)
def split_address(address: str) -> tuple[str, int, str, str]:
    """`split_url` for the address of a layer 4 server: host:port, or unix:/path. Raises ValueError."""
    if address.startswith(UNIX):
        return split_url(address)
    try:
        parts = urlsplit(f"//{address}")
        port = parts.port
    except ValueError as error:
        raise ValueError(f"error parsing server address {address}: {error}") from None
    if not parts.hostname or port is None or parts.netloc != address or parts.username is not None:
        raise ValueError(f"error parsing server address {address}: write host:port or unix:/path")
    return parts.hostname, port, address, ""


def split_host_port(address: str) -> tuple[str, int, str, str]:
    """`split_address` for the address of a UDP server, which is host:port. Raises ValueError."""
    if address.startswith(UNIX):
        raise ValueError(f"error parsing server address {address}: a server of UDP has host:port")
    return split_address(address)


def is_address(address: str, is_udp: bool = False) -> bool:
    """Whether the address of a layer 4 server can be read."""
    try:
        split_host_port(address) if is_udp else split_address(address)
    except ValueError:
        return False
    return True


def is_relative(url: str) -> bool:
    """Whether a URL names neither a scheme nor a host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return url == url.strip() and not parts.scheme and not parts.netloc


def is_nowhere(url: str) -> bool:
    """Whether a server's URL names no host at all, as `localhost` and `` do, which are common for routers that only
    redirect. A request for such a server is answered with 500, as in Traefik."""
    return "//" not in url and ":" not in url.partition("/")[0] and _PLACEHOLDER.search(url) is None


@lru_cache(maxsize=REMEMBERED)
def is_foreign(url: str) -> bool:
    """Whether a server's URL has no scheme or no host by which a server could be asked, as `ftp://host` and
    `localhost:8080`. Traefik takes it: requests for this server fail, and the others of its service serve."""
    scheme, colon, _ = url.partition(":")
    if not colon or _SCHEME.fullmatch(scheme) is None:
        return ":" not in url.partition("/")[0]
    if scheme.lower() not in PORTS:
        return scheme.lower() != "unix"
    try:
        return not urlsplit(url).hostname
    except ValueError:
        return False


@lru_cache(maxsize=REMEMBERED)
def split_url(url: str) -> tuple[str, int, str, str]:
    """`(host, port, authority, path)` of a server's URL. Raises ValueError.

    http://, https:// or h2c://, then [user@]host[:port][/path]; or (extension) unix:/path/of/socket, with port 0 and
    the path as host. A user is accepted, as in Traefik, and not sent: the authority is without it.
    Source: RFC 3986 section 3.
    """
    if url.startswith(UNIX):
        path = url.removeprefix(UNIX)
        if not path:
            raise ValueError(f"error parsing server URL {url}: a unix: URL needs the path of a socket")
        return path, 0, "localhost", ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"error parsing server URL {url}: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        known = "http://host:port, https://host:port, h2c://host:port or unix:/path"
        raise ValueError(f"error parsing server URL {url}: write {known}")
    if _PLACEHOLDER.search(parts.netloc):
        raise ValueError(f"error parsing server URL {url}: a placeholder was not filled in")
    if not _HOST.fullmatch(parts.hostname):
        raise ValueError(f"error parsing server URL {url}: {parts.hostname!r} is no host")
    return parts.hostname, PORTS[parts.scheme] if port is None else port, parts.netloc.rpartition("@")[2], parts.path


def is_http2(url: str) -> bool:
    """Whether connections to a server use HTTP/2 without TLS."""
    return url[:6].lower() == "h2c://"


def is_secure(url: str) -> bool:
    """Whether connections to a server use TLS."""
    return url[:8].lower() == "https://"


def has_user(url: str) -> bool:
    """Whether a URL that `split_url` accepts names a user."""
    return not url.startswith(UNIX) and "@" in urlsplit(url).netloc
