"""Keys of nginx, HAProxy, Caddy and Envoy, and what they are here: hints for keys that are unknown. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.model import keys

_SERVERS = "the servers of a service: http.services.NAME.loadBalancer.servers"
_ROUTER = "a router: http.routers.NAME, with a rule and a service"
_STRATEGY = "strategy of a loadBalancer: wrr, leastconn, p2c, leasttime, peakewma, or hrw with hashOn"
_POINT = "address of an entry point, in the static configuration"
_LIMIT = "maxConnections of a loadBalancer or of a server"
_TIMES = "timeout of a service or a middleware; dialTimeout and responseHeaderTimeout of serversTransports"
_EJECTION = "passiveHealthCheck of a loadBalancer: maxFailedAttempts, failureWindow"
_CHECK = "healthCheck of a loadBalancer: path, interval, timeout, status"
_RETRY = "the middleware retry"
_HEDGING = "hedging of the middleware retry"
_REDIRECT = "the middleware redirectScheme or redirectRegex"
_HEADERS = "the middleware headers: customRequestHeaders, customResponseHeaders"
_CERTIFICATES = "tls.certificates: certFile, keyFile"

# By the key in lower case, without `_` and `-`.
WORDS: Mapping[str, str] = {
    **keys("upstream upstreams backend backends cluster clusters pool lbendpoints targets nodes", _SERVERS),
    **keys("location locations virtualhosts serverblock frontend frontends usebackend", _ROUTER),
    **keys("proxypass reverseproxy defaultbackend", "service of a router"),
    **keys("servername acl hdr pathbeg", "rule of a router: Host(`a.example`) && PathPrefix(`/a`)"),
    **keys("balance lbpolicy lbalgorithm algorithm leastconn iphash roundrobin", _STRATEGY),
    **keys("listen bind listener listeners", _POINT),
    **keys("maxconn maxconns maxrequests", _LIMIT),
    **keys("timeout timeouts connecttimeout proxyconnecttimeout proxyreadtimeout", _TIMES),
    **keys("maxfails failtimeout failduration outlierdetection", _EJECTION),
    **keys("check httpchk healthchecks healthuri", _CHECK),
    **keys("retries retrypolicy proxynextupstream lbretries lbtryduration redispatch", _RETRY),
    **keys("hedge hedgepolicy hedgingpolicy hedgeonpertrytimeout backuprequest backuprequests", _HEDGING),
    **keys("backup", "a service of the kind failover: service, fallback"),
    **keys("cookie persist persistence stickysession stickytable", "sticky of a loadBalancer: cookie, or sourceIP"),
    **keys("rewrite uri", "the middleware replacePathRegex, stripPrefix or addPrefix"),
    **keys("return redir redirect", _REDIRECT),
    **keys("proxysetheader addheader headerup headerdown setheader", _HEADERS),
    **keys("limitreq limitconn ratelimiting", "the middleware rateLimit, or inFlightReq"),
    **keys("allow deny", "the middleware ipAllowList"),
    **keys("authbasic authrequest", "the middleware basicAuth, or forwardAuth"),
    **keys("gzip encode compression", "the middleware compress"),
    **keys("errorpage errorfile handleerrors", "the middleware errors"),
    **keys("sslcertificate sslcertificatekey crt tlscontext", _CERTIFICATES),
}


def plain_word(key: str) -> str:
    """A key in the form of `WORDS`."""
    return key.lower().replace("_", "").replace("-", "")
