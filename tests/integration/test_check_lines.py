"""`lbcore check` names the line of the key that is wrong, each fact once, and agrees with `lbcore run`."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest

from lbcore.config.load import load_objects, load_static_with_warnings
from lbcore.config.static import StaticConfig
from lbcore.process.check import check_file
from lbcore.provider.merge import merge
from lbcore.routing.compile import compile_table, find_problems
from tests.support.command import run_command
from tests.support.instance import Backend, dynamic_for, running
from tests.support.ports import free_port

SERVERS = "servers: [{url: 'http://127.0.0.1:9'}]"
TIMEOUTS = "transport: {respondingTimeouts"
BROKEN = """\
http:
  routers:
    a:
      rule: PathPrefix(`/`)
      middlewares:
        - strip
        - nope
      service: s
    b:
      entryPoints: [nowhere]
      rule: Foo(`x`)
      service: gone
    c:
      rule: Path(`/c`)
      service: t
  middlewares:
    strip:
      stripPrefix: {prefixes: [/a]}
  serversTransports:
    slow:
      forwardingTimeouts:
        dialTimeout: -5s
  services:
    s:
      loadBalancer:
        servers:
          - url: http://127.0.0.1:9
          - url: 127.0.0.1:9
    t:
      loadBalancer:
        serversTransport: slow
        servers:
          - url: http://127.0.0.1:9
    unused:
      loadBalancer:
        strategy: bogus
        servers:
          - url: http://127.0.0.1:9
tcp:
  routers:
    x:
      rule: HostSNI(`*`)
      service: y
  services:
    y:
      loadBalancer:
        servers:
          - address: 127.0.0.1
"""
WRONG = {
    7: "http.routers.a.middlewares[1]",
    10: "http.routers.b.entryPoints",
    11: "http.routers.b.rule",
    12: "http.routers.b.service",
    22: "http.serversTransports.slow.forwardingTimeouts.dialTimeout",
    28: "http.services.s.loadBalancer.servers[1].url",
    36: "http.services.unused.loadBalancer.strategy",
    48: "tcp.services.y.loadBalancer.servers[0].address",
}


def static_file(folder: Path, more: str = "") -> Path:
    path = folder / "static.yml"
    file = f"providers: {{file: {{filename: {folder / 'dynamic.yml'}}}}}\n"
    path.write_text(f"entryPoints: {{web: {{address: '127.0.0.1:0'}}}}\n{file}{more}")
    return path


def test_a_problem_of_an_object_has_the_line_of_its_key(tmp_path: Path) -> None:
    path = tmp_path / "dynamic.yml"
    path.write_text(BROKEN)
    found = check_file(static_file(tmp_path)).problems
    assert {line.split(": ")[0].rpartition(":")[2]: line.split(": ")[1] for line in found} == {
        str(line): key for line, key in WRONG.items()
    }
    assert len(found) == len(WRONG) + 1  # an entry point that is not there: nothing is left for the router


def test_in_toml_and_in_a_directory_too(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        "[http.routers.a]\nrule = 'Path(`/`)'\nservice = 'gone'\n"
        "[[http.services.s.loadBalancer.servers]]\nurl = 'x:y'\n"
    )
    (tmp_path / "b.yml").write_text("http:\n  routers:\n    b:\n      rule: Foo(`x`)\n      service: lost\n")
    found = {line.split(": ")[0]: line.split(": ")[1] for line in check_file(tmp_path).problems}
    assert found == {
        f"{tmp_path}/a.toml:3": "http.routers.a.service",
        f"{tmp_path}/a.toml:5": "http.services.s.loadBalancer.servers[0].url",
        f"{tmp_path}/b.yml:4": "http.routers.b.rule",
        f"{tmp_path}/b.yml:5": "http.routers.b.service",
    }


@pytest.mark.parametrize("layer", ["http", "tcp"])
def test_a_broken_transport_disables_what_goes_by_it(tmp_path: Path, layer: str) -> None:
    server = "url: 'http://127.0.0.1:9'" if layer == "http" else "address: '127.0.0.1:9'"
    rule = "PathPrefix(`/`)" if layer == "http" else "HostSNI(`*`)"
    timeout = "forwardingTimeouts: {dialTimeout: -1s}" if layer == "http" else "dialTimeout: -1s"
    path = tmp_path / "dynamic.yml"
    path.write_text(
        f"{layer}:\n  routers: {{r: {{rule: {rule}, service: s}}, o: {{rule: {rule}, service: o}}}}\n"
        f"  serversTransports: {{t: {{{timeout}}}}}\n  services:\n"
        f"    s: {{loadBalancer: {{serversTransport: t, servers: [{{{server}}}]}}}}\n"
        f"    o: {{loadBalancer: {{servers: [{{{server}}}]}}}}\n"
    )
    static = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}})
    disabled, _ = find_problems(merge({"file": load_objects(path).config}), static)
    assert {entry.name: entry.follows for entry in disabled} == {"s@file": True, "r@file": True, "t@file": False}
    report = check_file(path)
    assert [line.split(": ")[0] for line in report.problems] == [f"{path}:3"]


def test_a_service_that_cannot_be_built_is_named_though_no_router_leads_to_it(tmp_path: Path) -> None:
    path = tmp_path / "dynamic.yml"
    path.write_text(
        "http:\n  services:\n    s:\n      middlewares: [m]\n"
        f"      loadBalancer: {{{SERVERS}}}\n    parent: {{weighted: {{services: [{{name: s}}]}}}}\n"
        "  middlewares:\n    m:\n      replacePathRegex: {regex: '(', replacement: /}\n"
    )
    static = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}})
    disabled, _ = find_problems(merge({"file": load_objects(path).config}), static)
    assert {entry.name for entry in disabled} == {"m@file", "s@file", "parent@file"}
    assert check_file(path).problems


def test_a_check_for_errors_does_not_change_the_table(tmp_path: Path) -> None:
    from lbcore.process.snapshot import Publisher
    from lbcore.state.region import Region

    path = tmp_path / "dynamic.yml"
    path.write_text(f"http: {{services: {{s: {{loadBalancer: {{{SERVERS}}}}}}}}}\n")
    static = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}})
    region = Region.create(1)
    snapshot = Publisher(region, "").publish(merge({"file": load_objects(path).config}))
    table = compile_table(snapshot.dynamic, static, snapshot.slots, region, 0, {}, finds_all=True)
    assert (dict(table.services), dict(table.servers), table.disabled, table.limits) == ({}, {}, [], [])


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "{}\n", "---\n", "entryPoints:\n"])
def test_an_empty_file_is_refused_as_run_refuses_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "static.yml"
    path.write_text(text)
    assert [line.split(" (")[0] for line in check_file(path).problems] == [f"{path}: no configuration in this file"]


@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        ("ping: {entryPoint: wbe}", "ping.entryPoint", "did you mean web?"),
        ("metrics: {prometheus: {entryPoint: nope}}", "metrics.prometheus.entryPoint", "known here: web"),
        ("Ping: {EntryPoint: nope}", "ping.entryPoint", "known here: web"),
    ],
)
def test_an_entry_point_that_is_not_there_has_its_line(tmp_path: Path, section: str, key: str, text: str) -> None:
    path = static_file(tmp_path, section + "\n")
    _, warnings = load_static_with_warnings(path)
    (line,) = [str(warning) for warning in warnings]
    assert line.startswith(f"{path}:3: {key}: ")
    assert text in line


@pytest.mark.parametrize(
    "text",
    [
        "providers: {}",
        "entryPoints: {web: {address: ':0', http2: {}}}",
        "entryPoints: {web: {address: ':0', udp: {}}}",
        "http: {services: {s: {weighted: {sticky: {}, services: [{name: a}]}}}}",
        f"http: {{services: {{s: {{loadBalancer: {{passiveHealthCheck: {{}}, {SERVERS}}}}}}}}}",
        f"http: {{services: {{s: {{loadBalancer: {{responseForwarding: {{}}, {SERVERS}}}}}}}}}",
        "tcp: {services: {s: {loadBalancer: {}}}}",
        "http: {middlewares: {m: {replacePath: {path: }}}}",
        "http: {middlewares: {m: {headers: {customRequestHeaders: {X-A: }}}}}",
        "http: {services: {s: {loadBalancer: {servers: }}}}",
        "providers: {file: }",
        "entryPoints: {web: }",
    ],
)
def test_an_empty_section_is_refused_where_traefik_refuses_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yml"
    path.write_text(text + "\n")
    (problem,) = [line for line in check_file(path).problems if "standalone" in line]
    assert problem.startswith(f"{path}:1: ")


@pytest.mark.parametrize("cookie", ["sticky: {}", "sticky: {cookie: {}}", "sticky: {sourceIP: {}}"])
def test_an_empty_section_is_taken_where_traefik_takes_it(tmp_path: Path, cookie: str) -> None:
    path = tmp_path / "file.yml"
    path.write_text(f"http: {{services: {{s: {{loadBalancer: {{{cookie}, {SERVERS}}}}}}}}}\n")
    assert check_file(path).problems == []


@pytest.mark.parametrize(
    ("point", "way", "value"),
    [
        ("address: ''", "address", ":0"),
        ("address: ':0/TCP'", "address", ":0/tcp"),
        ("forwardedHeaders: {trustedIPs: [' 10.0.0.0/8 ']}", "forwarded_headers.trusted_ips", ["10.0.0.0/8"]),
        ("http: {maxHeaderBytes: 0}", "http.max_header_bytes", 1048576),
        ("http: {maxHeaderBytes: -1}", "http.max_header_bytes", 1048576),
        ("http: {maxHeaderBytes: 100}", "http.max_header_bytes", 512),
        ("http: {aliasHeadersStrategy: ''}", "http.alias_headers_strategy", None),
        ("transport: {keepAliveMaxRequests: -1}", "transport.keep_alive_max_requests", 0),
        ("transport: {keepAliveMaxTime: -1s}", "transport.keep_alive_max_time", timedelta(0)),
        (f"{TIMEOUTS}: {{readTimeout: -1}}}}", "transport.responding_timeouts.read_timeout", timedelta(0)),
        (f"{TIMEOUTS}: {{idleTimeout: -5m}}}}", "transport.responding_timeouts.idle_timeout", timedelta(minutes=-5)),
    ],
)
def test_values_that_traefik_takes_for_something_else_are_taken_so(
    tmp_path: Path, point: str, way: str, value: object
) -> None:
    path = tmp_path / "static.yml"
    path.write_text(f"entryPoints:\n  web: {{{point}}}\n")
    static, _ = load_static_with_warnings(path)
    found: object = static.entry_points["web"]
    for name in way.split("."):
        found = getattr(found, name)
    assert found == value
    assert check_file(path).problems == []


def test_an_empty_text_for_a_choice_is_its_default(tmp_path: Path) -> None:
    path = static_file(
        tmp_path,
        "log: {format: '', level: ''}\n"
        "accessLog: {format: '', fields: {defaultMode: '', names: {A: ''}, headers: {defaultMode: ''}}}\n",
    )
    static, _ = load_static_with_warnings(path)
    assert static.log.format == "common"
    assert static.access_log is not None
    assert (static.access_log.format, static.access_log.fields.default_mode) == ("common", "keep")
    dynamic = tmp_path / "dynamic.yml"
    dynamic.write_text(f"http: {{services: {{s: {{loadBalancer: {{strategy: '', {SERVERS}}}}}}}}}\n")
    service = load_objects(dynamic).config.http.services["s"]
    assert service.load_balancer is not None
    assert service.load_balancer.strategy == "wrr"
    assert check_file(dynamic).problems == []


def test_an_address_that_cannot_be_listened_on_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "static.yml"
    path.write_text("entryPoints:\n  web: {address: 'unix:relative'}\n")
    (problem,) = check_file(path).problems
    assert problem.startswith(f"{path}:2: entryPoints.web.address: ")


def test_run_logs_a_refused_file_in_the_words_of_check(tmp_path: Path) -> None:
    text = (
        "http:\n  routers:\n    a: {rule: x, service: y, bogus: 1}\n    b: {rule: x, service: y, bogus: 1}\n"
        "  serviecs: {a: b}\n"
    )
    with running(tmp_path, None, workers=1) as lb:
        lb.write(text)
        lb.logged("problems, ")
        expected = check_file(lb.dynamic_file).problems
        logged = [line.partition("configuration refused: ")[2] for line in lb.log.splitlines() if "refused: " in line]
        assert logged == expected
        assert len(logged) == 2


def test_a_reload_that_breaks_a_transport_keeps_what_goes_by_it(tmp_path: Path) -> None:
    backend = Backend("one")
    dynamic = dynamic_for(backend)
    service = next(iter(dynamic["http"]["services"].values()))
    service["loadBalancer"]["serversTransport"] = "t"
    timeouts = {"dialTimeout": "1s"}
    dynamic["http"]["serversTransports"] = {"t": {"forwardingTimeouts": timeouts}}
    with running(tmp_path, dynamic, workers=1) as lb:
        lb.runs(1)
        timeouts["dialTimeout"] = "-1s"
        lb.write(dynamic)
        lb.logged("serversTransport t@file is broken, the version that runs stays: ")
        assert lb.get() == (200, "one")
    backend.close()


def test_run_logs_the_line_of_the_key_and_not_that_of_the_object(tmp_path: Path) -> None:
    backend = Backend("one")
    good = (
        "http:\n  routers:\n    all:\n      rule: PathPrefix(`/`)\n      service: one\n"
        f"  services:\n    one:\n      loadBalancer:\n        servers:\n          - url: {backend.url}\n"
    )
    bad = (
        "    two:\n      loadBalancer:\n        servers:\n          - url: http://127.0.0.1:9\n"
        "          - url: 127.0.0.1:9\n"
        "tcp:\n  routers:\n    t:\n      rule: HostSNI(`*`)\n      service: gone\n"
    )
    with running(tmp_path, None, workers=1) as lb:
        lb.write(good + bad)
        lb.logged(r"service two@file is disabled: \S+dynamic\.yml:15: error parsing server URL")
        lb.logged(r"TCP router t@file is disabled: \S+dynamic\.yml:20: .*does not exist")
        lb.write(good.replace("service: one", "service: gone\n      middlewares:\n        - lost"))
        lb.logged(
            r"router all@file is broken, the version that runs stays: "
            r"\S+dynamic\.yml:7: middleware .*; \S+dynamic\.yml:5: "
        )
        assert lb.get() == (200, "one")
    backend.close()


@pytest.mark.parametrize("fleet", ["", "fleet: {peers: {addresses: ['http://10.0.0.1:8080/ping']}}\n"])
def test_a_part_of_a_limit_without_a_fleet_is_a_warning(tmp_path: Path, fleet: str) -> None:
    file = tmp_path / "dynamic.yml"
    limits = "a: {rateLimit: {average: 5, fleetWide: true}}, b: {inFlightReq: {amount: 5, fleetWide: true}}"
    router = "a: {rule: PathPrefix(`/`), service: s, middlewares: [a, b, c]}"
    service = f"s: {{loadBalancer: {{{SERVERS}}}}}"
    file.write_text(
        f"http:\n  routers: {{{router}}}\n  services: {{{service}}}\n"
        f"  middlewares: {{{limits}, c: {{rateLimit: {{average: 5}}}}}}\n"
    )
    (tmp_path / "static.yml").write_text(
        f"entryPoints: {{web: {{address: ':0'}}}}\nproviders: {{file: {{filename: {file}}}}}\n{fleet}"
    )
    report = check_file(tmp_path / "static.yml")
    found = [line for line in report.warnings if "fleetWide" in line]
    assert found == ([] if fleet else [
        f"{file}:4: middleware a: rateLimit.fleetWide has no effect without fleet in the static file",
        f"{file}:4: middleware b: inFlightReq.fleetWide has no effect without fleet in the static file",
    ])  # fmt: skip
    assert report.problems == []
    # A dynamic file alone does not say what the static one has.
    assert not [line for line in check_file(file).warnings if "fleetWide" in line]


def test_rules_of_version_2_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "dyn.yml").write_text(
        "http:\n  routers:\n"
        "    a: {rule: 'Host(`a`, `b`)', service: s}\n"
        "    b: {rule: 'PathPrefix(`/api/{id}`)', service: s}\n"
        "  services: {s: {loadBalancer: {servers: [{url: 'http://a'}]}}}\n"
    )
    report = check_file(tmp_path / "dyn.yml")
    (problem,) = report.problems
    assert problem.endswith("write Host(`a`) || Host(`b`), or set ruleSyntax: v2)")
    assert any("dyn.yml:4: router b: PathPrefix(`/api/{id}`) has a placeholder" in line for line in report.warnings)


def test_warnings_stand_beside_what_refuses_the_file(tmp_path: Path) -> None:
    static = tmp_path / "static.yml"
    static.write_text(
        "entryPoints: {web: {address: ':0'}}\npilot: {token: x}\n"
        f"providers: {{file: {{directory: {tmp_path}/dyn}}}}\nbogus: 1\n"
    )
    (tmp_path / "dyn").mkdir()
    (tmp_path / "dyn" / "a.yml").write_text("http: {routers: {r: {rule: 'Path(`/`)', service: s}}}\nbogus: {}\n")
    (tmp_path / "dyn" / "b.yml").write_text("wrong: 1\nhttp:\n  routers: []\n")
    report = check_file(static)
    assert [line.rpartition("/")[2].split(": ")[0] for line in report.problems] == ["b.yml:3"]
    about = [line.rpartition("/")[2].split(":")[0:2] for line in report.warnings]
    assert about == [["static.yml", "2"], ["static.yml", "4"], ["a.yml", "2"], ["b.yml", "1"]]
    static.write_text(static.read_text() + "log: {level: loud}\n")
    report = check_file(static)
    assert len(report.problems) == 1
    assert [line.rpartition("/")[2].split(":")[1] for line in report.warnings] == ["2", "4"]
    with running(tmp_path, None, workers=1) as lb:
        lb.write("bogus: 1\nhttp:\n  routers: []\n")
        lb.logged(r"WRN configuration: \S+dynamic\.yml:1: bogus: unknown key")


@pytest.mark.parametrize(("shows", "level"), [(True, "DEBUG"), (False, "DEBUG"), (True, "INFO")])
def test_what_templates_have_become_is_logged_if_it_is_asked_for(tmp_path: Path, shows: bool, level: str) -> None:
    file = tmp_path / "dynamic" / "dynamic.yml"
    static = {
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": str(file), "debugLogGeneratedTemplate": shows},
        },
        "log": {"level": level, "filePath": str(tmp_path / "lbcore.log")},
    }
    (tmp_path / "dynamic").mkdir()
    text = "http: {routers: {r: {rule: 'Host(`{{ %s | lower }}`)', service: noop@internal}}}\n"
    file.write_text(text % '"SHOWN.test"')
    with running(tmp_path, None, workers=1, static=static) as lb:
        lb.logged(r"runs configuration 1")
        assert ("rule: 'Host(`shown.test`)'" in lb.log) == (shows and level == "DEBUG")
        # A template that cannot be rendered is a problem, and nothing else.
        lb.write(text % "nofunc")
        lb.logged(r"there is no template function nofunc")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("tcpServersTransport:\n  tls:\n    spiffe: {ids: [spiffe://a/b]}\n", "3: tcpServersTransport.tls.spiffe: "),
        ("serversTransport:\n  rootCAs:\n    - nowhere.pem\n", "2: serversTransport.rootCAs: nowhere.pem cannot"),
        ("ping:\n\t entryPoint: {{ web }}\n", "2: no valid YAML: a tab"),
        ("providers:\n  redis: {tls: {ca: nowhere.pem}}\n", "2: providers.redis.tls: cannot be used: ca: nowhere.pem"),
        ("lbcore:\n  workers: 2\n", "2: workers: unknown key 'workers' of lbcore"),
    ],
)
def test_a_static_section_that_cannot_run_has_its_line_in_check_and_run(
    tmp_path: Path, section: str, said: str
) -> None:
    file = tmp_path / "static.yml"
    file.write_text(f"{section}entryPoints: {{web: {{address: '127.0.0.1:0'}}}}\n")
    (problem,) = check_file(file).problems
    assert problem.startswith(f"{file}:{said}")
    run = run_command("run", "--config", file, "--workers", "1")
    assert run.returncode == 1
    assert problem in run.stderr


def test_warnings_about_static_sections_have_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "static.yml"
    file.write_text("""\
entryPoints:
  web:
    address: 127.0.0.1:0
    http: {tls: {certResolver: gone}, redirections: {entryPoint: {to: nowhere}}}
metrics:
  prometheus:
    headerLabels:
      host: Host
providers: {file: {filename: dynamic.yml}}
""")
    (tmp_path / "dynamic.yml").write_text("""\
http:
  routers:
    a: {rule: Path(`/`), service: s}
  services:
    s: {loadBalancer: {servers: [{url: "http://user@127.0.0.1:9"}]}}
    idle: {loadBalancer: {servers: [{url: "http://127.0.0.1:9"}]}}
""")
    with contextlib.chdir(tmp_path):
        report = check_file(Path("static.yml"))
    assert not report.problems
    assert report.warnings == [
        "static.yml:8: metrics.prometheus.headerLabels.host: is always empty, as in Traefik: "
        "use X-Forwarded-Host in place of Host",
        'static.yml:2: entryPoint "web": its redirection leads to "nowhere", which doesn\'t exist: it is left out',
        "dynamic.yml:5: service s: the user in the URL of a server is not sent: take it out",
        "dynamic.yml:6: service idle is not used by any router",
        "static.yml:2: entry point web uses a nonexistent certificate resolver: gone",
    ]


def test_a_file_of_authorities_that_is_missing_is_told_once(tmp_path: Path) -> None:
    dynamic = dynamic_for()
    dynamic["http"]["services"]["backends"]["loadBalancer"] |= {
        "servers": [{"url": "https://127.0.0.1:9"}],
        "serversTransport": "inner",
    }
    dynamic["http"]["serversTransports"] = {"inner": {"rootCAs": ["/nowhere/ca.pem"]}}
    with running(tmp_path, dynamic) as lb:
        lb.runs(1)
        (problem,) = check_file(lb.dynamic_file).problems
        assert "http.serversTransports.inner: rootCAs: /nowhere/ca.pem cannot be read" in problem
        assert lb.log.count("/nowhere/ca.pem cannot be read") == 1


def test_each_reason_of_the_state_has_its_place(tmp_path: Path) -> None:
    text = """\
http:
  routers:
    a:
      rule: Path(`/a`)
      middlewares: [gone, limit]
      service: s
    b:
      service: s
      rule: Pth(`/b`)
  middlewares:
    limit:
      rateLimit: {average: x}
  services:
    s: {loadBalancer: {servers: [{url: "http://127.0.0.1:9"}]}}
"""
    (tmp_path / "dynamic").mkdir()
    (tmp_path / "dynamic" / "dynamic.yml").write_text(text)
    points = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}
    with running(tmp_path, None, static={"entryPoints": points, "api": {"insecure": True}}) as lb:
        lb.runs(1)
        port = lb.logged(r"entry point traefik listens on \S+:(\d+)")[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/state", timeout=20) as answer:
            problems = {each["object"]: each["text"] for each in json.load(answer)["problems"]}
        lb.logged(r'router a@file is disabled: \S+:5: middleware "gone@file" does not exist\n')
        lb.logged(r"router b@file is disabled: \S+:9: .*unsupported function: Pth \(did you mean Path\?\)\n")
        assert lb.log.count("is not a whole number") == 1
    file = lb.dynamic_file
    assert problems["router a@file"] == (
        f'router a@file is disabled: {file}:5: middleware "gone@file" does not exist; '
        f"{file}:12: rateLimit.average: 'x' is not a whole number"
    )


def test_what_is_wrong_below_tls_is_told_once_by_check_log_and_state(tmp_path: Path) -> None:
    text = """\
http:
  routers: {a: {rule: Path(`/`), service: s, tls: {}}}
  services: {s: {loadBalancer: {servers: [{url: "http://127.0.0.1:9"}]}}}
tls:
  certificates:
    - certFile: {a: b}
      keyFile: x
  options:
    default: {sniStrict: {a: 1}}
    other: {minVersion: foo}
  stores:
    default: {defaultCertificate: {certFile: [x]}}
"""
    (tmp_path / "dynamic").mkdir()
    (tmp_path / "dynamic" / "dynamic.yml").write_text(text)
    points = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}
    with running(tmp_path, None, static={"entryPoints": points, "api": {"insecure": True}}) as lb:
        lb.runs(1)
        port = lb.logged(r"entry point traefik listens on \S+:(\d+)")[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/state", timeout=20) as answer:
            problems = [each["text"] for each in json.load(answer)["problems"] if each["object"] == "configuration"]
        logged = [line.partition(" ERR configuration: ")[2] for line in lb.log.splitlines() if " ERR conf" in line]
    checked = sorted(check_file(lb.dynamic_file).problems)
    assert [problem.removeprefix(f"{lb.dynamic_file}:").partition(" ")[0] for problem in checked] == [
        "10:", "12:", "6:", "9:"
    ]  # fmt: skip
    assert sorted(logged) == checked
    assert sorted(problems) == [f"a part of the configuration is not in force: {problem}" for problem in checked]


def test_what_is_wrong_with_a_definition_that_is_ignored_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "dynamic"
    folder.mkdir()
    backend = Backend("one")
    (folder / "a.yml").write_text(json.dumps(dynamic_for(backend)))
    others = "backends: {loadBalancer: {servers: x}}, other: {loadBalancer: 1}"
    (folder / "b.yml").write_text(f"http: {{services: {{{others}}}}}\n")
    report = check_file(folder)
    (problem,) = report.problems
    assert problem.startswith(f"{folder}/b.yml:1: http.services.other.loadBalancer: ")
    assert f"{folder}/b.yml:1: http.services.backends: already defined at {folder}/a.yml:1, ignored" in report.warnings
    static = {"providers": {"file": {"directory": str(folder)}}}
    with running(tmp_path, None, workers=1, static=static) as lb:
        lb.runs(1)
        assert [line for line in lb.log.splitlines() if " ERR " in line and "backends" in line] == []
        assert lb.get() == (200, "one")
    backend.close()


NAMES_DOCKER = f"""\
http:
  routers:
    a: {{rule: Path(`/`), middlewares: [authelia@docker], service: s}}
  services:
    s: {{loadBalancer: {{{SERVERS}}}}}
"""


@pytest.mark.parametrize(
    ("providers", "problems"), [("", 1), (", docker: {}", 0), (", nomad: {namespaces: [a]}", 1)]
)
def test_an_object_of_a_provider_that_is_not_configured_does_not_exist(tmp_path, providers, problems):
    """Only what a provider of the static file may have is left unchecked; `lbcore run` reports the rest."""
    dynamic = tmp_path / "dynamic.yml"
    dynamic.write_text(NAMES_DOCKER)
    static = tmp_path / "static.yml"
    static.write_text(
        f"entryPoints: {{web: {{address: ':0'}}}}\nproviders: {{file: {{filename: {dynamic}}}{providers}}}\n"
    )
    report = check_file(static)
    assert len(report.problems) == problems
    unchecked = [text for text in report.warnings if "cannot be checked here" in text]
    assert len(unchecked) == 1 - problems
    said = "".join(report.problems or unchecked)
    assert 'middleware "authelia@docker" does not exist' in said


def test_a_dynamic_file_alone_may_name_any_provider(tmp_path):
    dynamic = tmp_path / "dynamic.yml"
    dynamic.write_text(NAMES_DOCKER)
    report = check_file(dynamic)
    assert not report.problems
    assert any("cannot be checked here" in text for text in report.warnings)


def test_a_namespace_of_a_provider_is_not_checked(tmp_path):
    dynamic = tmp_path / "dynamic.yml"
    dynamic.write_text(NAMES_DOCKER.replace("@docker", "@nomad-a"))
    static = tmp_path / "static.yml"
    static.write_text(
        "entryPoints: {web: {address: ':0'}}\n"
        f"providers: {{file: {{filename: {dynamic}}}, nomad: {{namespaces: [a]}}}}\n"
    )
    report = check_file(static)
    assert not report.problems


FOREIGN = """\
http:
  routers:
    options: {rule: Host(`a`), service: s, tls: {options: o@docker}}
    parent: {rule: Host(`b`), service: s, parentRefs: [p@docker]}
    transport: {rule: Host(`c`), service: t}
    errors: {rule: Host(`d`), service: s, middlewares: [e]}
    guarded: {rule: Host(`e`), service: x@docker, middlewares: [x@docker]}
  middlewares:
    e: {errors: {status: ['500'], service: x@docker, query: /}}
  services:
    s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9'}]}}
    t: {loadBalancer: {serversTransport: x@docker, servers: [{url: 'http://127.0.0.1:9'}]}}
tcp:
  routers:
    options: {rule: HostSNI(`a.b`), service: t, middlewares: [m@docker], tls: {options: o@docker}}
    transport: {rule: HostSNI(`c.b`), service: y, tls: {}}
  services:
    t: {loadBalancer: {servers: [{address: '127.0.0.1:9'}]}}
    y: {loadBalancer: {serversTransport: x@docker, servers: [{address: '127.0.0.1:9'}]}}
"""


def static_for(folder: Path, more: str = "") -> Path:
    static = folder / "static.yml"
    static.write_text(
        "entryPoints: {web: {address: '127.0.0.1:0'}}\n"
        f"providers: {{file: {{filename: {folder / 'dynamic.yml'}}}{more}}}\n"
    )
    return static


def test_whatever_an_object_of_an_unread_provider_is_for_it_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "dynamic.yml").write_text(FOREIGN)
    report = check_file(static_for(tmp_path, ", docker: {}"))
    assert report.problems == []
    told = [text for text in report.warnings if "cannot be checked here" in text]
    for name in ("options", "parent", "transport", "errors", "guarded"):
        assert any(text.startswith(f"router {name}@file") for text in told), name
    assert not [text for text in report.warnings if "cannot run" in text], "nobody knows that yet"
    assert len(check_file(static_for(tmp_path)).problems) > 5


def test_a_router_below_one_of_an_unread_provider_is_no_problem_however_far_below(tmp_path: Path) -> None:
    (tmp_path / "dynamic.yml").write_text(
        "http:\n  routers:\n"
        "    middle: {rule: Host(`a`), parentRefs: [top@docker]}\n"
        "    leaf: {rule: Path(`/b`), service: s, parentRefs: [middle]}\n"
        "    other: {rule: Path(`/c`), service: s, parentRefs: [gone, top@docker]}\n"
        f"  services: {{s: {{loadBalancer: {{{SERVERS}}}}}}}\n"
    )
    report = check_file(static_for(tmp_path, ", docker: {}"))
    assert [text.partition(" (")[0] for text in report.problems] == [
        f'{tmp_path / "dynamic.yml"}:5: http.routers.other.parentRefs[0]: parent router "gone@file" does not exist'
    ]
    told = [text for text in report.warnings if "cannot be checked here" in text]
    assert [text.partition(": ")[0] for text in told] == [f"router {name}@file" for name in ("leaf", "middle", "other")]
    assert all("top@docker" in text or "not reachable" in text for text in told)
    unreachable = [text for text in check_file(static_for(tmp_path)).problems if "not reachable" in text]
    assert len(unreachable) == 1 and "leaf:4, middle:3, other:5" in unreachable[0]


def test_a_middleware_that_asks_a_broken_service_is_no_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "dynamic.yml").write_text(
        "http:\n  routers: {a: {rule: Host(`a`), service: good, middlewares: [e]}}\n"
        "  middlewares: {e: {errors: {status: ['500'], service: bad, query: /}}}\n"
        f"  services:\n    good: {{loadBalancer: {{{SERVERS}}}}}\n"
        f"    bad: {{loadBalancer: {{{SERVERS}, strategy: bogus}}}}\n"
    )
    (problem,) = check_file(static_for(tmp_path)).problems
    assert ":6: http.services.bad.loadBalancer.strategy: " in problem


def test_a_static_file_is_found_as_wrong_by_check_as_by_run(tmp_path: Path) -> None:
    port = free_port()
    static = tmp_path / "static.yml"
    static.write_text(
        f"entryPoints:\n  web: {{address: '127.0.0.1:{port}'}}\n  other: {{address: '127.0.0.1:{port}/tcp'}}\n"
        f"  names: {{address: '127.0.0.1:{port}/udp'}}\n"
        "providers: {rest: {insecure: true}}\nhostResolver: {cnameFlattening: true}\n"
    )
    checked, ran = run_command("check", static), run_command("run", "--config", static)
    assert (checked.returncode, ran.returncode) == (1, 1)
    where = f"{static}:3: entryPoints.other.address: cannot listen on 127.0.0.1:{port}/tcp"
    taken = f"{where}: entry point web listens there"
    for text in (checked.stderr, ran.stderr):
        assert taken in text and "entryPoints.names" not in text
        assert f"error: {static}:6: hostResolver: not supported" in text
        assert "no provider is configured" not in text
    static.write_text(static.read_text().replace("address", "reusePort: true, address"))
    assert "listens there" not in run_command("check", static).stderr
