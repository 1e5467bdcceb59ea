"""Set-ups as people have them: what a file looks like, and what is to come of it in real Traefik and in lbcore.

same     both take it, and the same routers run.
missing  both take it; lbcore leaves out the routers, or the parts, that need a feature it lacks, and names each.
broken   both find it wrong. Traefik refuses the whole file for many a mistake for which lbcore disables one object.
strict   Traefik takes what cannot be meant; lbcore says so.
lenient  Traefik refuses it; lbcore can tell what is meant.
"""

# ruff: noqa: E501
from __future__ import annotations

from typing import Literal, NamedTuple

Outcome = Literal["same", "missing", "broken", "strict", "lenient"]


class SetUp(NamedTuple):
    """`says`: texts that lbcore's warnings and problems hold."""

    name: str
    outcome: Outcome
    text: str
    says: tuple[str, ...] = ()
    suffix: str = "yml"


APP = "  services:\n    app:\n      loadBalancer:\n        servers:\n          - url: http://10.0.0.2:8080\n"

DYNAMIC = [
    SetUp("one service", "same", f"http:\n  routers:\n    app:\n      rule: Host(`app.example`)\n      service: app\n{APP}"),
    SetUp(
        "lists as texts",
        "same",
        f"""http:
  routers:
    app:
      rule: Host(`app.example`)
      entryPoints: web
      middlewares: "secure, www"
      service: app
{APP}  middlewares:
    secure:
      headers: {{frameDeny: true, stsSeconds: "31536000", accessControlAllowMethods: "GET,OPTIONS"}}
    www:
      redirectRegex: {{regex: "^https?://www\\\\.(.+)", replacement: "https://$1", permanent: "true"}}
""",
    ),
    SetUp(
        "TOML of a home server",
        "same",
        """[http.routers.nas]
rule = "Host(`nas.home`) || PathPrefix(`/nas`)"
entryPoints = ["web"]
service = "nas"
priority = "100"
[http.services.nas.loadBalancer]
passHostHeader = true
[[http.services.nas.loadBalancer.servers]]
url = "http://192.168.1.20:5000"
[http.services.nas.loadBalancer.sticky.cookie]
""",
        suffix="toml",
    ),
    SetUp("a list in TOML as one text", "same", """[http.routers.a]
rule = "Host(`a.example`)"
entryPoints = "web"
service = "a"
[[http.services.a.loadBalancer.servers]]
url = "http://10.0.0.1"
weight = "3"
""", suffix="toml"),
    SetUp("dashboard behind a router", "same", """http:
  routers:
    dashboard:
      rule: Host(`traefik.example`) && (PathPrefix(`/api`) || PathPrefix(`/dashboard`))
      service: api@internal
"""),
    SetUp("a router that only redirects", "same", """http:
  routers:
    to-https:
      rule: HostRegexp(`.+`)
      entryPoints: [web]
      middlewares: [https]
      service: nothing
  middlewares:
    https: {redirectScheme: {scheme: https, permanent: true}}
  services:
    nothing: {loadBalancer: {servers: [{url: localhost}]}}
""", ("names no host",)),
    SetUp("noop behind a redirection", "same", """http:
  routers:
    to-https: {rule: "PathPrefix(`/`)", middlewares: https, service: noop@internal, priority: 1}
  middlewares:
    https: {redirectScheme: {scheme: https}}
"""),
    SetUp("an empty url", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: [{url: ""}]}}}
""", ("names no host",)),
    SetUp("sticky by true", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {sticky: {cookie: true}, servers: [{url: "http://a"}]}}}
"""),
    SetUp("streams of events", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {responseForwarding: {flushInterval: -1}, servers: [{url: "http://a"}]}}}
"""),
    SetUp("health checks and a canary", "same", """http:
  routers: {shop: {rule: "Host(`shop.example`)", service: shop}}
  services:
    shop: {weighted: {services: [{name: v1, weight: 9}, {name: v2, weight: 1}], sticky: {cookie: {name: canary}}}}
    v1: {loadBalancer: {healthCheck: {path: /health, interval: 10s, timeout: 3s}, servers: [{url: "http://10.1.0.1"}]}}
    v2: {loadBalancer: {healthCheck: {path: /health, interval: 10, timeout: 3}, servers: [{url: "http://10.1.0.2"}]}}
"""),
    SetUp("mirror and failover", "same", """http:
  routers:
    a: {rule: "Host(`a`)", service: mirrored}
    b: {rule: "Host(`b`)", service: safe}
  services:
    mirrored: {mirroring: {service: main, mirrors: [{name: copy, percent: 10}]}}
    safe: {failover: {service: main, fallback: copy}}
    main: {loadBalancer: {healthCheck: {path: /}, servers: [{url: "http://10.0.0.1"}]}}
    copy: {loadBalancer: {servers: [{url: "http://10.0.0.2"}]}}
"""),
    SetUp("numbers as YAML has them", "same", """http:
  routers:
    a: {rule: "Host(`a`)", service: s, priority: 0x10}
    b: {rule: "Host(`b`)", service: s, priority: 1_000}
    c: {rule: "Host(`c`)", service: s, priority: 1e3}
  services: {s: {loadBalancer: {servers: [{url: "http://a", weight: 2.0}]}}}
"""),
    SetUp("anchors and private sections", "same", """x-server: &server {url: "http://10.0.0.1:80"}
http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: [*server, {<<: *server, weight: 2}]}}}
""", ("more than once",)),
    SetUp("an anchor twice", "same", """x-a: &router {rule: nonsense, service: t}
x-b: &router {rule: "Host(`a`)", service: s}
http:
  routers: {r: *router}
  services: {s: {loadBalancer: {servers: [{url: "http://a"}]}}}
"""),
    SetUp("lines of dashes", "same", f"""# {'- ' * 150}
# {': ' * 150}
http:
  routers: {{r: {{rule: "Host(`a`)", service: app}}}}
{APP}"""),
    SetUp("a second document", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app}}}}
{APP}---
http: {{nonsense: 1}}
""", ("second document",)),
    SetUp("headers of the time of version 1", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [h]}}}}
  middlewares: {{h: {{headers: {{sslRedirect: true, sslHost: a, stsSeconds: 3, featurePolicy: "camera 'none'"}}}}}}
{APP}""", ("use redirectScheme", "use permissionsPolicy")),
    SetUp("only a key that is gone", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [h]}}}}
  middlewares: {{h: {{headers: {{sslRedirect: true}}}}}}
{APP}""", ("gone since Traefik 3",)),
    SetUp("a websocket header", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [h]}}}}
  middlewares: {{h: {{headers: {{customRequestHeaders: {{Connection: Upgrade, X-Forwarded-Proto: https}}}}}}}}
{APP}""", ("Connection",)),
    SetUp("a value over several lines", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [h]}}}}
  middlewares:
    h:
      headers:
        contentSecurityPolicy: |
          default-src 'self';
          img-src *;
{APP}"""),
    SetUp("a rule over several lines", "same", f"""http:
  routers:
    r:
      rule: >-
        Host(`a.example`) &&
        (PathPrefix(`/x`) || Header(`X-QA`, `1`))
      service: app
{APP}"""),
    SetUp("a list with a colon behind a text", "same", f"""http:
  routers:
    r:
      rule: Host(`a`)
      service: app
      middlewares:
        - h:
  middlewares: {{h: {{headers: {{frameDeny: true}}}}}}
{APP}""", ("taken for 'h'",)),
    SetUp("one name in place of domains", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, tls: {{domains: a.example}}}}}}
{APP}"""),
    SetUp("an unknown entry point beside a known one", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, entryPoints: [web, websecure]}}}}
{APP}""", ('entryPoint "websecure"',)),
    SetUp("a prefix without its slash", "same", f"""http:
  routers: {{r: {{rule: "PathPrefix(`/a`)", service: app, middlewares: [s]}}}}
  middlewares: {{s: {{stripPrefix: {{prefixes: /a, forceSlash: false}}}}}}
{APP}""", ("forceSlash",)),
    SetUp("static keys beside", "same", f"""entryPoints: {{web: {{address: ":80"}}}}
http:
  routers: {{r: {{rule: "Host(`a`)", service: app}}}}
{APP}""", ("static configuration, ignored",)),
    SetUp("weights below nothing", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: [{url: "http://a", weight: -1}, {url: "http://b"}]}}}
""", ("below 0",)),
    SetUp("no servers", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {passHostHeader: true}}}
""", ("nothing to send requests to",)),
    SetUp("two routers with one rule, and what nobody uses", "same", f"""http:
  routers:
    a: {{rule: "Host(`a`)", service: app}}
    b: {{rule: "Host(`a`)", service: app}}
{APP}    old: {{loadBalancer: {{servers: [{{url: "http://a"}}]}}}}
  middlewares: {{unused: {{addPrefix: {{prefix: /x}}}}}}
""", ("has the rule of a", "service old ", "middleware unused ")),
    SetUp("layer 4", "same", """tcp:
  routers: {db: {rule: "HostSNI(`*`)", entryPoints: web, service: db}}
  services: {db: {loadBalancer: {servers: [{address: "10.0.0.5:5432"}, {address: "10.0.0.6:5432"}]}}}
"""),
    SetUp("layer 4 on an entry point that is not there, too", "same", """tcp:
  routers: {db: {rule: "HostSNI(`*`)", entryPoints: [nope, web], service: db}}
  services: {db: {loadBalancer: {servers: [{address: "10.0.0.5:5432"}]}}}
""", ("tcp router db: entryPoint \"nope\" doesn't exist",)),
    SetUp("layer 4 on no entry point that is there", "broken", """tcp:
  routers: {bad: {rule: "HostSNI(`*`)", entryPoints: [nope], service: db}}
  services: {db: {loadBalancer: {servers: [{address: "10.0.0.5:5432"}]}}}
""", ("no valid entryPoint for this router",)),
    SetUp("a header of answers with a colon in its name", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [h]}}}}
  middlewares: {{h: {{headers: {{customResponseHeaders: {{"X-Robots-Tag:": none, "X A": b}}}}}}}}
{APP}""", ("'X-Robots-Tag:' is not the name of a header", "'X A' is not")),
    SetUp("domains without a dash", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, tls: {{domains: {{main: a.example, sans: "*.a.example"}}}}}}}}
{APP}""", ("taken for a list of one",)),
    SetUp("domains that are commented out", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, tls: {{domains: [{{main: null, sans: null}}, {{}}]}}}}}}
{APP}"""),
    SetUp("no encodings, which are the usual ones", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [c]}}}}
  middlewares: {{c: {{compress: {{encodings: []}}}}}}
{APP}"""),
    SetUp("names of headers in one text", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [auth]}}}}
  middlewares: {{auth: {{forwardAuth: {{address: "http://a", authResponseHeaders: ["Remote-User, Remote-Groups"]}}}}}}
{APP}""", ("have 2 names",)),
    SetUp("a server name with an underscore in version 2", "same", """tcp:
  routers: {db: {rule: "HostSNI(`a_b`)", ruleSyntax: v2, entryPoints: web, service: db, tls: {}}}
  services: {db: {loadBalancer: {servers: [{address: "10.0.0.5:5432"}]}}}
"""),
    SetUp("times longer than a life", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {healthCheck: {path: /, interval: 99999h, timeout: 876000h}, servers: [{url: "http://a"}]}}}
"""),
    SetUp("a transport with its timeouts", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {serversTransport: slow, servers: [{url: "http://a"}]}}}
  serversTransports: {slow: {maxIdleConnsPerHost: -1, forwardingTimeouts: {responseHeaderTimeout: 10m}}}
"""),
    SetUp("observability of a router", "same", f"""http:
  routers:
    r: {{rule: "Host(`a`)", service: app, observability: {{accessLogs: "false", tracing: false, metrics: true}}}}
{APP}"""),
    SetUp("times of a check that are nothing", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {healthCheck: {path: /, interval: 0, timeout: -1s}, servers: [{url: "http://a"}]}}}
""", ("not above 0, so the default holds",)),
    SetUp("empty texts for sections", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}, t: {rule: "Host(`b`)", service: none, tls: ""}}
  services:
    s: {loadBalancer: {sticky: {cookie: ""}, servers: [{url: "http://a"}]}}
    none: {loadBalancer: {servers: ""}}
""", ("nothing to send requests to",)),
    SetUp("empty lists for sections", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}, t: {rule: "Host(`b`)", service: s, tls: []}}
  services: {s: {loadBalancer: {sticky: {cookie: []}, servers: [{url: "http://a"}]}}}
"""),
    SetUp("limits below nothing", "same", """http:
  routers: {m: {rule: "Host(`a`)", service: m}, f: {rule: "Host(`b`)", service: f}}
  services:
    m: {mirroring: {service: s, maxBodySize: -2, healthCheck: {}, mirrors: [{name: s, percent: 1}]}}
    f: {failover: {service: s, fallback: m, errors: {status: ["0-999"], maxRequestBodyBytes: -5}}}
    s: {loadBalancer: {passiveHealthCheck: {maxFailedAttempts: 0}, servers: [{url: "http://a"}]}}
"""),
    SetUp("keys of labels in a server", "same", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: [{url: "http://a", scheme: http, port: 80}]}}}
""", ("scheme: has no effect", "port: has no effect")),
    SetUp("nothing at all", "same", "http:\n", ("http: is empty",)),
    SetUp("TLS and a resolver", "same", f"""http:
  routers:
    plain: {{rule: "Host(`a`)", service: app}}
    secure: {{rule: "Host(`a`)", service: app, tls: {{certResolver: le}}}}
    other: {{rule: "Host(`b`)", service: app, tls: {{certResolver: le}}}}
{APP}tls:
  options: {{default: {{minVersion: VersionTLS12}}}}
"""),
    SetUp("authentication and limits", "same", f"""http:
  routers:
    open: {{rule: "Host(`a`)", service: app}}
    closed: {{rule: "Host(`b`)", service: app, middlewares: "auth,limit"}}
  middlewares:
    auth: {{basicAuth: {{users: ["a:$apr1$x"]}}}}
    limit: {{rateLimit: {{average: 100, burst: 50}}}}
{APP}""", ("no password lets 'a' in",)),
    SetUp("compression by true", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [c]}}, plain: {{rule: "Host(`b`)", service: app}}}}
  middlewares: {{c: {{compress: true}}}}
{APP}"""),
    SetUp("a server behind TLS", "same", f"""http:
  routers:
    a: {{rule: "Host(`a`)", service: app}}
    b: {{rule: "Host(`b`)", service: proxmox}}
{APP}    proxmox: {{loadBalancer: {{serversTransport: lax, servers: [{{url: "https://192.168.1.5:8006"}}]}}}}
  serversTransports: {{lax: {{insecureSkipVerify: true}}}}
"""),
    SetUp("a key whose values are commented out", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middleware: null}}}}
{APP}  middlewars:
    # old: {{compress: {{}}}}
""", ("unknown key 'middlewars' without a value", "did you mean middlewares?")),
    SetUp("names with spaces around them", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app, middlewares: [" c "], entryPoints: ["web "]}}}}
  middlewares: {{c: {{compress: {{}}}}}}
{APP}"""),
    SetUp("inline tables of TOML 1.1", "same", """[http.routers]
r = {  # all of it
  rule = "Host(`\\x61`)",
  service = "app",
}
[http.services.app.loadBalancer]
servers = [{url = "http://a",}]
""", (), "toml"),
    SetUp("datagrams", "same", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app}}}}
{APP}udp:
  services: {{dns: {{loadBalancer: {{servers: [{{address: "10.0.0.1:53"}}]}}}}}}
"""),
    SetUp("rules of version 2", "same", f"""http:
  routers:
    old: {{rule: "Host(`a`, `b`)", ruleSyntax: v2, service: app}}
    new: {{rule: "Host(`c`)", service: app}}
{APP}""", ("in version 3 it is Host(`a`) || Host(`b`)",)),
    SetUp("a wrong matcher", "broken", f"""http:
  routers: {{bad: {{rule: "Hots(`a`)", service: app}}, good: {{rule: "Host(`b`)", service: app}}}}
{APP}""", ("unsupported function: Hots",)),
    SetUp("a service that is not there", "broken", f"""http:
  routers: {{bad: {{rule: "Host(`a`)", service: ap}}, good: {{rule: "Host(`b`)", service: app}}}}
{APP}""", ('the service "ap@file" does not exist',)),
    SetUp("a priority beyond all", "broken", f"""http:
  routers:
    bad: {{rule: "Host(`a`)", service: app, priority: 9223372036854775807}}
    good: {{rule: "Host(`b`)", service: app}}
{APP}""", ("above the highest priority",)),
    SetUp("a url without its scheme", "broken", """http:
  routers: {bad: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: [{url: "127.0.0.1:80"}]}}}
""", ("error parsing server URL 127.0.0.1:80",)),
    SetUp("a misspelt key", "broken", f"""http:
  routers: {{bad: {{rule: "Host(`a`)", service: app, middleware: x}}}}
{APP}""", ("did you mean middlewares?",)),
    SetUp("a switch of YAML 1.1", "broken", """http:
  routers: {bad: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {passHostHeader: yes, servers: [{url: "http://a"}]}}}
""", ("write true",)),
    SetUp("a section without keys", "broken", f"""http:
  routers: {{bad: {{rule: "Host(`a`)", service: app, middlewares: [s]}}}}
  middlewares: {{s: {{stripPrefix: {{}}}}}}
{APP}""", ("standalone element",)),
    SetUp("a tab", "broken", "http:\n\trouters: {}\n", ("a tab",)),
    SetUp("a key twice", "broken", "http:\n  routers:\n    r: {rule: a}\n    r: {rule: b}\n", ("stands here twice",)),
    SetUp("an empty section at the top", "broken", "http: {}\n", ("standalone element",)),
    SetUp("a placeholder that was not filled in", "broken", """http:
  routers: {bad: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: [{url: "http://${HOST}:80"}]}}}
""", ("placeholder",)),
    SetUp("one server without a dash", "strict", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: {url: "http://a"}}}}
""", ("begins with a dash",)),
    SetUp("a transport without its name", "strict", f"""http:
  routers: {{r: {{rule: "Host(`a`)", service: app}}}}
{APP}  serversTransports: {{insecureSkipVerify: true}}
""", ("the name of a transport is missing",)),
    SetUp("a cookie called yes", "strict", """http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {sticky: {cookie: yes}, servers: [{url: "http://a"}]}}}
""", ("needs keys and values",)),
]

BASE = 'entryPoints:\n  web:\n    address: "127.0.0.1:PORT1"\n'
SECURE = BASE + '  websecure:\n    address: "127.0.0.1:PORT2"\n'

STATIC = [
    SetUp("one entry point", "same", BASE),
    SetUp("the usual sections by true", "same", BASE + "ping: true\naccessLog: true\nlog: {level: info}\n"),
    SetUp("the usual sections, empty", "same", BASE + "accessLog: {}\nping:\n", ("ping: is empty",)),
    SetUp("the usual sections, empty texts", "same", BASE + "ping: ''\nmetrics: {prometheus: ''}\naccessLog: ''\n"),
    SetUp("times below nothing", "same", BASE + "    transport: {lifeCycle: {graceTimeOut: -1s, requestAcceptGraceTimeout: -5}}\n"),
    SetUp("sections in TOML", "same", '[entryPoints.web]\naddress = "127.0.0.1:PORT1"\n[log]\nlevel = "DEBUG"\n[accessLog]\n', (), "toml"),
    SetUp("trusted networks as one text", "same", BASE + '    forwardedHeaders: {trustedIPs: "10.0.0.0/8,127.0.0.1/32"}\n'),
    SetUp("everything to HTTPS by port", "same", BASE + '    http: {redirections: {entryPoint: {to: ":443", scheme: https}}}\n'),
    SetUp("everything to nowhere", "same", BASE + "    http: {redirections: {entryPoint: {to: nope}}}\n", ("nope",)),
    SetUp("everything to no entry point", "same", BASE + "    http: {redirections: {entryPoint: {scheme: https}}}\n", ("leads nowhere",)),
    SetUp("files without a name", "same", BASE + "providers: {file: {watch: true}}\n", ("it names no file",)),
    SetUp("formats of logs that there are not", "same", BASE + "log: {format: text}\naccessLog: {format: combined}\n", ("'text' is taken for common", "'combined' is taken for common")),
    SetUp("statuses that are none", "same", BASE + 'accessLog: {filters: {statusCodes: ["200", "4xx"]}}\n', ("'4xx' is neither a status",)),
    SetUp("collectors without a scheme, or with one", "same", BASE + "tracing: {otlp: {http: {endpoint: 'collector:4318'}}}\nmetrics: {otlp: {grpc: {endpoint: 'http://collector:4317'}}}\n", ("tracing: left out: invalid collector endpoint", "metrics.otlp: left out")),
    SetUp("all fields redacted", "same", BASE + "accessLog: {format: json, fields: {defaultMode: redact}}\n", ("redact is taken for keep",)),
    SetUp("no streams of HTTP/2", "same", BASE + "    http2: {maxConcurrentStreams: 0}\n", ("0 is taken for the default",)),
    SetUp("heads of any size", "same", BASE + "    http: {maxHeaderBytes: 100000000}\n", ("is taken for 67108864",)),
    SetUp("times without an end", "same", BASE + "    transport: {respondingTimeouts: {readTimeout: 99999h, idleTimeout: 2000000h}}\n"),
    SetUp("sessions of a month", "same", SECURE + '  dns: {address: "127.0.0.1:PORT2/udp", udp: {timeout: 720h}}\n'),
    SetUp("a log that rotates", "same", BASE + "log: {level: WARNING, format: JSON, maxSize: 10, compress: true}\n", ("logrotate", "taken for WARN")),
    SetUp("values in quotes", "same", BASE + """log: {level: "'INFO'", format: '"json"'}\naccessLog: {format: "'json'"}\n""", ("'INFO' is taken for INFO", '"json" is taken for json', "'json' is taken for json")),
    SetUp("debugging pages", "same", BASE + "api: {debug: true, dashboard: true, disableDashboardAd: true}\n", ("api.debug",)),
    SetUp("statistics", "same", BASE + "global: {checkNewVersion: true, sendAnonymousUsage: false}\n"),
    SetUp("many idle connections", "same", BASE + "serversTransport: {maxIdleConnsPerHost: -1, insecureSkipVerify: true}\n"),
    SetUp("logged statuses", "same", BASE + 'accessLog: {filters: {statusCodes: "200,300-302", minDuration: 10ms}}\n'),
    SetUp("statuses beyond the last", "same", BASE + 'accessLog: {filters: {statusCodes: ["100-800"]}}\n'),
    SetUp("fields redacted", "same", BASE + "accessLog: {format: json, fields: {names: {ClientUsername: redact}}}\n"),
    SetUp("file and folder", "same", BASE + "providers: {file: {filename: a.yml, directory: FOLDER, watch: true}}\n", ("directory is set, too",)),
    SetUp("templates that are plain text", "same", BASE + 'ping: {entryPoint: web}\nproviders: {file: {filename: "FOLDER/{{ x }}.yml"}}\n'),
    SetUp("dynamic keys beside", "same", BASE + "http: {routers: {r: {rule: x}}}\n", ("dynamic configuration, ignored",)),
    SetUp("a ping that nobody can ask", "same", BASE + "ping: {entryPoint: nope}\n", ("is not served",)),
    SetUp("streams of HTTP/2", "same", BASE + "    http2: {maxConcurrentStreams: 100}\n"),
    SetUp("timeouts as numbers", "same", BASE + "    transport: {respondingTimeouts: {readTimeout: 0, idleTimeout: 300}}\n"),
    SetUp("the usual TLS", "same", SECURE + "    http: {tls: {certResolver: le}}\ncertificatesResolvers:\n  le: {acme: {email: a@b.example, storage: FOLDER/acme.json, httpChallenge: {entryPoint: web}}}\n"),
    SetUp("containers", "same", BASE + "providers: {docker: {exposedByDefault: false}}\n", ()),
    SetUp("telemetry", "same", BASE + "tracing: {otlp: {http: {endpoint: \"http://127.0.0.1:1/v1/traces\"}}}\n"),
    SetUp("a misspelt key", "broken", BASE + "    adress: x\n", ("did you mean address?",)),
    SetUp("an address without its colon", "broken", 'entryPoints: {web: {address: "PORT1"}}\n', ("has no port: write :",)),
    SetUp("nobody to trust", "broken", BASE + "    proxyProtocol: {}\n", ("no client is trusted",)),
    SetUp("a network that is none", "broken", BASE + '    forwardedHeaders: {trustedIPs: ["10.0.0.0/33"]}\n', ("neither an IP address nor a network",)),
    SetUp("no level", "strict", BASE + "log: {level: loud}\n", ("has to be one of",)),
    SetUp("left over from version 2", "lenient", BASE + "pilot: {token: x}\nexperimental: {http3: true}\n", ("pilot", "http3: has no effect")),
    SetUp("swarm as in version 2", "lenient", BASE + "providers: {docker: {swarmMode: true}}\n", ("docker.swarmMode: has no effect",)),
]
