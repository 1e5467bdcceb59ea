"""TLSOption, TLSStore, ServersTransport and ServersTransportTCP: as in files, with secrets for files. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lbcore.config.tls import DEFAULT
from lbcore.provider.kubernetes.context import Context, Source, step
from lbcore.provider.kubernetes.core import Lacking
from lbcore.provider.kubernetes.crd_references import CrdContext
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.tasks import Step

Content = dict[str, Any]


def _step(kind: str, layer: str, place: str, read: Callable[[Context, Source, Part], Content]) -> Step:
    """The step that adds the objects of a kind."""

    def add(context: CrdContext, source: Source) -> None:
        spec = source.spec()
        content = read(context, source, spec)
        spec.end()
        by_name = place == "stores" or (layer == "tls" and source.name == DEFAULT)
        name = _name(source) if by_name else context.references.own(source)
        context.draft.put(layer, place, name, content, source.text, "spec", source.faults)

    return step(kind, add)


def _name(source: Source) -> str:
    """The one called `default` is that of all of lbcore, whatever its namespace."""
    return DEFAULT if source.name == DEFAULT else source.identity


def _options(context: Context, source: Source, spec: Part) -> Content:
    content = spec.present(
        *("minVersion", "maxVersion", "cipherSuites", "curvePreferences", "sniStrict", "alpnProtocols"),
        *("disableSessionTickets", "preferServerCipherSuites"),
    )
    if (auth := spec.part("clientAuth")) is not None:
        of_auth = auth.present("clientAuthType")
        authorities = []
        for name in auth.texts("secretNames"):
            try:
                authorities.append(context.core.authority(source.namespace, name, lenient=False))
            except Lacking as error:
                source.fault(f"{auth.at('secretNames')}: {error}")
        auth.end()
        content["clientAuth"] = {**of_auth, **({"caFiles": authorities} if authorities else {})}
        if not content["clientAuth"]:
            del content["clientAuth"]
    return content


def _store(context: Context, source: Source, spec: Part) -> Content:
    content = spec.present("defaultGeneratedCert")
    if (default := spec.part("defaultCertificate")) is not None:
        name = default.text("secretName")
        default.end()
        try:
            certificate, key = context.core.pair(source.namespace, name)
            content["defaultCertificate"] = {"certFile": certificate, "keyFile": key}
        except Lacking as error:
            context.draft.complain(f"{source.text}: {default.path}: {error}")
    for part in spec.parts("certificates"):
        name = part.text("secretName")
        part.end()
        try:
            certificate, key = context.core.pair(source.namespace, name)
        except Lacking as error:
            context.draft.complain(f"{source.text}: {part.path}: {error}")
            continue
        pair: Content = {"certFile": certificate, "keyFile": key, "stores": [_name(source)]}
        context.draft.put_certificate(f"{source.namespace}/{name}", pair, source.text)
    return content


def _transport(context: Context, source: Source, spec: Part) -> Content:
    content = spec.present(
        *("serverName", "insecureSkipVerify", "cipherSuites", "minVersion", "maxVersion", "maxIdleConnsPerHost"),
        *("forwardingTimeouts", "disableHTTP2", "peerCertURI"),
    )
    return {**content, **_spiffe(spec), **_trust(context, source, spec)}


def _stream_transport(context: Context, source: Source, spec: Part) -> Content:
    content = spec.present("dialTimeout", "dialKeepAlive", "proxyProtocol", "terminationDelay")
    if (tls := spec.part("tls")) is not None:
        of_tls = tls.present("serverName", "insecureSkipVerify", "peerCertURI")
        content["tls"] = {**of_tls, **_spiffe(tls), **_trust(context, source, tls)}
        tls.end()
    return content


def _spiffe(part: Part) -> Content:
    """What the kind has. What lbcore has beyond that names files of its machine."""
    spiffe = part.part("spiffe")
    if spiffe is None:
        return {}
    content = spiffe.present("ids", "trustDomain")
    spiffe.end()
    return {"spiffe": content}


def _trust(context: Context, source: Source, part: Part) -> Content:
    """The authorities of servers, and the certificates for them. What is missing is a fault: all trust hangs on it."""
    content: Content = {}
    authorities = list(_authorities(context, source, part))
    if authorities:
        content["rootCAs"] = authorities
    pairs = []
    for name in part.texts("certificatesSecrets"):
        try:
            certificate, key = context.core.pair(source.namespace, name)
            pairs.append({"certFile": certificate, "keyFile": key})
        except Lacking as error:
            source.fault(f"{part.at('certificatesSecrets')}: {error}")
    if pairs:
        content["certificates"] = pairs
    return content


def _authorities(context: Context, source: Source, part: Part) -> Iterator[str]:
    core, namespace = context.core, source.namespace
    wanted: list[tuple[str, str, str]] = []
    for name in part.texts("rootCAsSecrets"):
        wanted.append((part.at("rootCAsSecrets"), name, ""))
    if wanted:
        context.draft.warn(f"{source.text}: {wanted[0][0]}: the old name of rootCAs")
    for each in part.parts("rootCAs"):
        secret, of_map = each.text("secret"), each.text("configMap")
        each.end()
        if bool(secret) == bool(of_map):
            source.fault(f"{each.path}: needs either secret or configMap")
            continue
        wanted.append((each.path, secret, of_map))
    for at, secret, of_map in wanted:
        try:
            yield core.map_authority(namespace, of_map) if of_map else core.authority(namespace, secret)
        except Lacking as error:
            source.fault(f"{at}: {error}")


TLS_STEPS = (
    _step("TLSOption", "tls", "options", _options),
    _step("TLSStore", "tls", "stores", _store),
    _step("ServersTransport", "http", "serversTransports", _transport),
    _step("ServersTransportTCP", "tcp", "serversTransports", _stream_transport),
)
