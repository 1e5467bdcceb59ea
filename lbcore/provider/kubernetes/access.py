"""Where the API server of a cluster is, and how lbcore proves who it is: by its pod, by $KUBECONFIG, or by settings."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lbcore.config.regular import read_regular
from lbcore.config.static.kubernetes import KubernetesProvider
from lbcore.config.static.providers import ClientTls
from lbcore.errors import ConfigError, Problem

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where a pod finds its token, and the authority
HOST, PORT, KUBECONFIG = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBECONFIG"


@dataclass(frozen=True, slots=True)
class Access:
    """An API server.

    tls         None: the authorities of the system, if its endpoint is https.
    token       of the account; `token_file` has it instead, and is read at each request, because tokens expire.
    namespace   of the pod that lbcore runs in; `default` outside of a cluster.
    """

    endpoint: str
    tls: ClientTls | None = None
    token: str = field(default="", repr=False)
    token_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    namespace: str = "default"

    def headers(self) -> dict[str, str]:
        """The headers that prove who asks. Raises OSError if the token cannot be read."""
        token = self.token or (_read(self.token_file).strip() if self.token_file else "")
        return {"Authorization": f"Bearer {token}"} if token else {}


def access_of(
    provider: str,
    settings: KubernetesProvider,
    environ: Mapping[str, str] = os.environ,
    account: Path = ACCOUNT,
) -> Access:
    """The API server that is meant: that of the cluster lbcore runs in, else by $KUBECONFIG, else by the settings.

    What the settings say counts in a cluster, too. Raises ConfigError.
    """
    given = settings.token
    is_file = bool(given) and len(given) < 1024 and os.path.exists(given)
    if environ.get(HOST) and environ.get(PORT):
        host = environ[HOST]
        host = f"[{host}]" if ":" in host else host
        authority = settings.cert_auth_file_path or str(account / "ca.crt")
        return Access(
            settings.endpoint or f"https://{host}:{environ[PORT]}",
            ClientTls(ca=authority) if os.path.exists(authority) else None,
            "" if is_file else given,
            given if is_file else "" if given else str(account / "token"),
            namespace=_own_namespace(account),
        )
    if environ.get(KUBECONFIG):
        try:
            return _by_file(environ[KUBECONFIG], settings.endpoint)
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise ConfigError([Problem(f"providers.{provider}", f"${KUBECONFIG}: {reason}")]) from None
    if not settings.endpoint:
        hint = "outside of a cluster, set it with token and certAuthFilePath, or set $KUBECONFIG"
        raise ConfigError([Problem(f"providers.{provider}.endpoint", "is missing", hint)])
    tls = ClientTls(ca=settings.cert_auth_file_path) if settings.cert_auth_file_path else None
    return Access(settings.endpoint, tls, "" if is_file else given, given if is_file else "")


def _read(path: str | Path) -> str:
    """The text of a file. Raises OSError."""
    return read_regular(path).data.decode()


def _own_namespace(account: Path) -> str:
    try:
        return _read(account / "namespace").strip() or "default"
    except OSError:
        return "default"


def _by_file(paths: str, endpoint: str) -> Access:
    """The cluster and the user of the current context. Of several files, what comes first counts."""
    current, found = "", {"contexts": {}, "clusters": {}, "users": {}}  # type: tuple[str, dict[str, dict[str, Any]]]
    for path in filter(None, paths.split(os.pathsep)):
        content = yaml.safe_load(_read(path)) or {}
        if not isinstance(content, dict):
            raise ValueError(f"{path} does not hold keys and values")
        current = current or str(content.get("current-context") or "")
        for kind, known in found.items():
            for entry in content.get(kind) or []:
                if isinstance(entry, dict) and "name" in entry:
                    thing = entry.get(kind.removesuffix("s")) or {}
                    known.setdefault(str(entry["name"]), {**thing, "": str(Path(path).parent)})
    if not current:
        raise ValueError("it has no current-context")
    context = _named(found, "contexts", current)
    cluster = _named(found, "clusters", str(context.get("cluster")))
    user = _named(found, "users", str(context.get("user"))) if context.get("user") else {}
    for thing, keys in ((cluster, ("tls-server-name", "proxy-url")), (user, ("exec", "auth-provider"))):
        for key in keys:
            if thing.get(key):
                raise ValueError(f"{key} is not supported by this version of lbcore: use a token, or a certificate")
    tls = ClientTls(
        ca=_given(cluster, "certificate-authority"),
        cert=_given(user, "client-certificate"),
        key=_given(user, "client-key"),
        insecure_skip_verify=bool(cluster.get("insecure-skip-tls-verify")),
    )
    token = str(user.get("token") or "")
    return Access(
        endpoint or str(cluster.get("server") or ""),
        tls if tls != ClientTls() else None,
        token,
        "" if token else _path(user, "tokenFile"),
        str(user.get("username") or ""),
        str(user.get("password") or ""),
    )


def _named(found: dict[str, dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    if name not in found[kind]:
        raise ValueError(f"it has no {kind.removesuffix('s')} {name!r}")
    thing: dict[str, Any] = found[kind][name]
    return thing


def _path(thing: dict[str, Any], key: str) -> str:
    """The path of a file; one that is relative begins where the file stands that names it."""
    return os.path.join(str(thing[""]), str(thing[key])) if thing.get(key) else ""


def _given(thing: dict[str, Any], key: str) -> str:
    """A PEM text, or the path of a file with one."""
    if data := thing.get(f"{key}-data"):
        return base64.b64decode(str(data), validate=True).decode()
    return _path(thing, key)
