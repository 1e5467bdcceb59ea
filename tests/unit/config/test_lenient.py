"""What Traefik's decoder takes is taken, in both kinds of file; nonsense that it loads is refused with a reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import parse_dynamic, parse_static
from lbcore.config.model import Object
from lbcore.config.static import Prometheus, StaticConfig
from lbcore.errors import ConfigError, Problem
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems

SERVICE = "services: {s: {loadBalancer: {servers: [{url: 'http://a'}]%s}}}"


def balancer(more: str, name: str = "d.yml") -> Any:
    config, _ = parse_dynamic(f"http: {{{SERVICE % more}}}", name)
    service = config.http.services["s"]
    assert service.faults == ()
    return service.load_balancer


def faults(text: str, name: str = "d.yml") -> dict[str, tuple[str, ...]]:
    config, _ = parse_dynamic(text, name)
    return {name: thing.faults for name, thing in objects(config).items() if thing.faults}


def objects(config: DynamicConfig) -> dict[str, Object]:
    parts = (config.http, config.tcp)
    return {
        name: thing for part in parts for kind in type(part).model_fields for name, thing in getattr(part, kind).items()
    }


def router(more: str) -> Any:
    return parse_dynamic(f"http: {{routers: {{r: {{rule: 'Host(`a`)', service: s, {more}}}}}}}")[0].http.routers["r"]


def warned(text: str, *, static: bool = False) -> list[str]:
    return [str(note) for note in (parse_static if static else parse_dynamic)(text)[1]]


def test_an_empty_list_is_an_empty_section() -> None:
    assert router("tls: []").tls == router("tls: {}").tls is not None
    assert balancer(", sticky: {cookie: []}").sticky == balancer(", sticky: {cookie: {}}").sticky
    assert parse_static("ping: []\naccessLog: []\n") == parse_static("ping: {}\naccessLog: {}\n")
    assert faults(f"http: {{{SERVICE % ', healthCheck: []'}}}")["s"]


def test_one_text_is_a_list_split_at_commas() -> None:
    assert router("entryPoints: 'web, websecure'").entry_points == ["web", "websecure"]
    assert router("middlewares: m").middlewares == ["m"]
    assert router("entryPoints: ''").entry_points == []
    assert router("middlewares: ['a,b']").middlewares == ["a,b"]
    toml = '[http.middlewares.m.stripPrefix]\nprefixes = "/a, /b"\n'
    strip = parse_dynamic(toml, "a.toml")[0].http.middlewares["m"].strip_prefix
    assert strip is not None
    assert strip.prefixes == ["/a", "/b"]
    static, _ = parse_static(
        "entryPoints: {web: {address: ':80', forwardedHeaders: {trustedIPs: '10.0.0.0/8,127.0.0.1'}}}\n"
        "accessLog: {filters: {statusCodes: '200,300-302'}}\nmetrics: {prometheus: {buckets: '0.1, 2'}}\n"
    )
    assert static.entry_points["web"].forwarded_headers.trusted_ips == ["10.0.0.0/8", "127.0.0.1"]
    assert static.access_log is not None and static.metrics is not None and static.metrics.prometheus is not None
    assert static.access_log.filters.ranges == [(200, 200), (300, 302)]
    assert static.metrics.prometheus.buckets == [0.1, 2.0]
    assert Prometheus(buckets=[]).bounds == Prometheus().bounds == [0.1, 0.3, 1.2, 5.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("0x10", 16), ("010", 8), ("0o10", 8), ("1_000", 1000), ("1.0", 1), ("1e3", 1000), ("+10", 10), ("-5", -5)],
        *[("'10'", 10), ("'010'", 10), ("'+10'", 10), ("0b11", 3)],
    ],
)
def test_numbers_as_yaml_and_go_read_them(text: str, value: int) -> None:
    assert (router(f"priority: {text}").priority, router(f"priority: {text}").faults) == (value, ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("'0x10'", "'0x10' is not a whole number: it stands in quotes"),
        ("1.5", "not a whole number"),
        ("' 10 '", "not a whole number"),
        ("true", "not a whole number"),
        ("19223372036854775807", "does not fit into 64 bits"),
        ("9223372036854775807", "above the highest priority"),
        ("''", "not a whole number"),
    ],
)
def test_numbers_that_are_none_disable_their_object(text: str, reason: str) -> None:
    (fault,) = router(f"priority: {text}").faults
    assert fault.startswith("dynamic.yml:1: priority: ") and reason in fault


@pytest.mark.parametrize(("text", "value"), [("T", True), ("'1'", True), ("FALSE", False), ("f", False), ("0", False)])
def test_switches_as_go_reads_them(text: str, value: bool) -> None:
    assert balancer(f", passHostHeader: {text}").pass_host_header is value


@pytest.mark.parametrize(("text", "hint"), [("yes", "write true"), ("off", "write false"), ("fAlse", "write false")])
def test_switches_that_traefik_does_not_know_are_refused_with_what_was_meant(text: str, hint: str) -> None:
    (found,) = faults(f"http: {{{SERVICE % f', passHostHeader: {text}'}}}")["s"]
    assert hint in found


def test_true_is_an_empty_section_and_false_is_none() -> None:
    assert balancer(", sticky: {cookie: true}").sticky.cookie.path == "/"
    assert balancer(", sticky: {cookie: false}").sticky.cookie is None
    assert balancer(", sticky: false").sticky is None
    on, _ = parse_static("ping: true\naccessLog: true\napi: true\nmetrics: {prometheus: true}\n")
    off, _ = parse_static("ping: false\naccessLog: false\napi: false\nmetrics: {prometheus: false}\n")
    assert on.ping and on.access_log and on.api and on.metrics and on.metrics.prometheus
    assert (off.ping, off.access_log, off.api, off.metrics and off.metrics.prometheus) == (None, None, None, None)
    assert parse_static("[ping]\n[accessLog]\n", "a.toml")[0].ping is not None


def test_empty_sections_that_need_keys_are_refused() -> None:
    for section in ("healthCheck", "responseForwarding"):
        for nothing in ("{}", "true"):
            (found,) = faults(f"http: {{{SERVICE % f', {section}: {nothing}'}}}")["s"]
            assert f"{section} cannot be a standalone element" in found
    with pytest.raises(ConfigError, match="http cannot be a standalone element"):
        parse_dynamic("http: {}")
    assert "stripPrefix cannot be" in faults("http: {middlewares: {m: {stripPrefix: {}}}}")["m"][0]


def test_a_key_without_a_value_is_absent() -> None:
    config, warnings = parse_static("ping:\naccessLog:\n")
    assert (config.ping, config.access_log) == (None, None)
    assert [str(warning) for warning in warnings] == [
        "static.yml:1: ping: is empty, so it is not there (write ping: {})",
        "static.yml:2: accessLog: is empty, so it is not there (write accessLog: {})",
    ]
    assert router("tls: ").faults == ()


def test_negative_numbers_with_a_meaning() -> None:
    assert balancer(", responseForwarding: {flushInterval: -1}").response_forwarding.flush_interval == timedelta(
        seconds=-1
    )
    assert balancer(", responseForwarding: {flushInterval: -1ms}").response_forwarding.flush_interval < timedelta(0)
    assert (
        parse_static("serversTransport: {maxIdleConnsPerHost: -1}")[0].servers_transport.max_idle_conns_per_host == -1
    )


@pytest.mark.parametrize("value", ["0", "-1", "-1s", "0s"])
def test_times_of_health_checks_that_are_not_above_zero_are_the_default(value: str) -> None:
    keys = f"{{path: /, interval: {value}, unhealthyInterval: {value}, timeout: {value}}}"
    check = balancer(f", healthCheck: {keys}").health_check
    assert check is not None
    assert (check.interval, check.unhealthy_interval, check.timeout) == (
        timedelta(seconds=30), timedelta(seconds=30), timedelta(seconds=5),
    )  # fmt: skip
    _, warnings = parse_dynamic(f"http: {{{SERVICE % f', healthCheck: {keys}'}}}")
    assert [str(warning).split(" is ")[1] for warning in warnings] == ["not above 0, so the default holds"] * 3
    tcp = f"tcp: {{services: {{s: {{loadBalancer: {{healthCheck: {{interval: {value}, timeout: {value}}}}}}}}}}}"
    found = parse_dynamic(tcp)[0].tcp.services["s"].load_balancer
    assert found is not None
    assert found.health_check is not None
    assert (found.health_check.interval, found.health_check.timeout) == (timedelta(seconds=30), timedelta(seconds=5))


@pytest.mark.parametrize(
    ("domain", "kept"),
    [
        ("d.test", True),
        (".D-1.test.", True),
        ("127.0.0.1", True),
        ("d test", False),
        ("d_test", False),
        ("-d.test", False),
        ("d..test", False),
        ("caf\xe9.test", False),
        ("1.2", False),
        ("300.0.0.1", False),
        ("::1", False),
        ("a" * 64, False),
    ],
)
def test_a_domain_that_is_none_is_left_out_of_a_cookie(domain: str, kept: bool) -> None:
    keys = f", sticky: {{cookie: {{domain: '{domain}'}}}}"
    config, warnings = parse_dynamic(f"http: {{{SERVICE % keys}}}")
    found = config.http.services["s"].load_balancer
    assert found is not None
    assert found.sticky is not None
    assert found.sticky.cookie is not None
    assert found.sticky.cookie.domain == (domain if kept else "")
    assert len(warnings) == (0 if kept else 1)


@pytest.mark.parametrize("value", ["-1", "-2", "-9223372036854775808"])
def test_limits_of_bodies_below_zero_are_none(value: str) -> None:
    config, _ = parse_dynamic(
        "http: {services: {m: {mirroring: {service: s, maxBodySize: " + value + "}},"
        " f: {failover: {service: s, fallback: s, errors: {maxRequestBodyBytes: " + value + "}}}}}"
    )
    mirroring, failover = config.http.services["m"].mirroring, config.http.services["f"].failover
    assert mirroring is not None
    assert mirroring.max_body_size == -1
    assert failover is not None
    assert failover.errors is not None
    assert failover.errors.max_request_body_bytes == -1


@pytest.mark.parametrize("value", ["0", "-1"])
def test_one_failed_attempt_is_the_least(value: str) -> None:
    passive = balancer(f", passiveHealthCheck: {{maxFailedAttempts: {value}}}").passive_health_check
    assert passive is not None
    assert passive.max_failed_attempts == 1


def test_an_empty_text_is_an_empty_list_and_an_empty_section() -> None:
    assert parse_dynamic("http: {services: {s: {loadBalancer: {servers: ''}}}}")[0].http.services["s"].faults == ()
    assert parse_dynamic("http: {services: {s: {loadBalancer: {servers: {}}}}}")[0].http.services["s"].faults == ()
    assert router("tls: ''").tls is not None
    assert parse_static("ping: ''")[0].ping is not None


def test_a_text_of_spaces_is_one_empty_name() -> None:
    """As in Traefik: `middlewares: "${AUTH} "` without AUTH leaves no router without its guard."""
    assert router("middlewares: ''").middlewares == []
    assert router("middlewares: ' '").middlewares == [""]
    disabled, _ = find_problems(
        merge(
            {
                "file": parse_dynamic("""
http:
  routers: {r: {rule: "Path(`/`)", service: s, middlewares: ' '}}
  services: {s: {loadBalancer: {servers: [{url: 'http://a'}]}}}
""")[0]
            }
        ),
        StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}}),
    )
    assert [entry.name for entry in disabled] == ["r@file"]


def test_keys_of_labels_in_a_server_have_no_effect() -> None:
    text = "http: {services: {s: {loadBalancer: {servers: [{url: 'http://a', scheme: https, port: 81}]}}}}"
    config, warnings = parse_dynamic(text)
    assert config.http.services["s"].faults == ()
    assert [str(warning) for warning in warnings] == [
        f"dynamic.yml:1: http.services.s.loadBalancer.servers[0].{key}: has no effect (write url: http://host:port)"
        for key in ("port", "scheme")
    ]


@pytest.mark.parametrize("text", ["1.5", "'1 s'", "''", "1d", "99999999999999999999", "9999999999999h", "1e999"])
def test_durations_that_are_none(text: str) -> None:
    (found,) = faults(f"http: {{{SERVICE % f', healthCheck: {{path: /, interval: {text}}}'}}}")["s"]
    assert found.startswith("d.yml:1: loadBalancer.healthCheck.interval: ")


@pytest.mark.parametrize(
    ("more", "where"),
    [
        (", passiveHealthCheck: {maxFailedAttempts: 4294967296}", "passiveHealthCheck.maxFailedAttempts"),
        (", passiveHealthCheck: {failureWindow: 2000h}", "passiveHealthCheck.failureWindow"),
        (", sticky: {cookie: {maxAge: 99999999999}}", "sticky.cookie.maxAge"),
        (", maxConnections: 2147483648", "maxConnections"),
        (", healthCheck: {path: /, status: 99999}", "healthCheck.status"),
    ],
)
def test_numbers_beyond_what_runs_by_them_have_their_place(more: str, where: str) -> None:
    (found,) = faults(f"http: {{{SERVICE % more}}}")["s"]
    assert found.startswith(f"d.yml:1: loadBalancer.{where}: ")


def test_numbers_of_layer_4_and_transports_are_bounded() -> None:
    big = 1 << 63
    assert "t" in faults(f"http: {{serversTransports: {{t: {{maxIdleConnsPerHost: {big}}}}}}}")
    assert "m" in faults(f"tcp: {{middlewares: {{m: {{inFlightConn: {{amount: {big}}}}}}}}}")
    assert "s" in faults(f"tcp: {{services: {{s: {{loadBalancer: {{terminationDelay: {big}}}}}}}}}")
    assert "t" in faults("tcp: {serversTransports: {t: {dialKeepAlive: 40000s}}}")


def test_what_has_no_effect_is_warned_of_with_what_to_use() -> None:
    assert warned("http: {middlewares: {m: {headers: {sslRedirect: true, featurePolicy: x, frameDeny: true}}}}") == [
        "dynamic.yml:1: http.middlewares.m.headers.featurePolicy: has no effect "
        "(gone since Traefik 3: use permissionsPolicy)",
        "dynamic.yml:1: http.middlewares.m.headers.sslRedirect: has no effect "
        "(gone since Traefik 3: use redirectScheme, or redirections of the entry point)",
    ]
    point = "entryPoints: {web: {address: ':80', http: {underscoreHeadersStrategy: delete}}}"
    (text,) = warned(point, static=True)
    assert "underscoreHeadersStrategy: is deprecated" in text
    assert "aliasHeadersStrategy" in text
    static = (
        "api: {debug: true, disableDashboardAd: true}\nlog: {level: WARNING, maxSize: 1}\n"
        "pilot: {token: x}\nexperimental: {http3: true}\n"
    )
    found = warned(static, static=True)
    assert len(found) == 6
    for text in (
        "api.debug",
        "disableDashboardAd",
        "taken for WARN",
        "log.maxSize",
        "pilot",
        "experimental.http3",
    ):
        assert any(text in line for line in found)
    assert parse_static(static)[0].log.level == "WARN"


def test_lower_case_and_upper_case_choices() -> None:
    static, _ = parse_static("log: {format: JSON, level: Debug}\naccessLog: {fields: {names: {X: redact}}}")
    assert (static.log.format, static.log.level) == ("json", "DEBUG")
    with pytest.raises(ConfigError, match="'LOUD' has to be one of 'TRACE'"):
        parse_static("log: {level: loud}")


def test_both_sources_of_files_and_ranges_beyond_statuses() -> None:
    static, warnings = parse_static(
        "providers: {file: {filename: a.yml, directory: b}}\naccessLog: {filters: {statusCodes: ['100-800']}}"
    )
    assert static.providers.file is not None and static.access_log is not None
    assert (static.providers.file.filename, static.providers.file.directory) == ("", "b")
    assert static.access_log.filters.ranges == [(100, 599)]
    assert ["directory" in str(warning) for warning in warnings] == [True]


def test_what_a_list_or_a_name_was_meant_to_be() -> None:
    config, _ = parse_dynamic(
        "http: {services: {a: {loadBalancer: {servers: {url: 'http://x'}}}, b: {loadBalancer: {servers: 'http://x'}}},"
        " serversTransports: {insecureSkipVerify: true}}"
    )
    for name in ("a", "b"):
        assert "each server begins with a dash: - url: http://host:port" in config.http.services[name].faults[0]
    assert "the name of a transport is missing" in config.http.servers_transports["insecureSkipVerify"].faults[0]


def test_objects_are_disabled_alone_and_keep_what_could_be_read() -> None:
    config, _ = parse_dynamic(
        "http:\n  routers:\n    bad: {rule: 'Host(`a`)', service: s, bogus: 1}\n"
        "    good: {rule: 'Host(`b`)', service: s}\n"
    )
    bad, good = config.http.routers["bad"], config.http.routers["good"]
    assert (bad.place, bad.rule, good.faults) == ("dynamic.yml:3", "Host(`a`)", ())
    assert bad.faults == (
        "dynamic.yml:3: bogus: unknown key 'bogus' (known here: entryPoints, middlewares, observability, parentRefs, "
        "priority, rule, ruleSyntax, service, tls)",
    )


def test_a_section_that_is_off_is_none() -> None:
    config, warnings = parse_dynamic("http: {routers: {b: {rule: x, service: s, tls: false}}}\n")
    assert (config.http.routers["b"].tls, config.http.routers["b"].faults, warnings) == (None, (), [])


def test_a_resolver_that_is_missing_leaves_the_others() -> None:
    text = "entryPoints: {web: {address: ':80'}, websecure: {address: ':443', http: {tls: {certResolver: le}}}}\n"
    static, notes = parse_static(
        text + "certificatesResolvers: {le: {acme: {email: a@b.c}}, ts: {tailscale: {}}}\nproviders: {ecs: true}"
    )
    assert (set(static.entry_points), set(static.closed)) == ({"web", "websecure"}, set())
    assert [note.path for note in notes if note.severity == "missing"] == [
        "certificatesResolvers.ts.tailscale",
        "providers.ecs",
    ]
    assert [name for name, resolver in static.certificates_resolvers.items() if resolver.faults] == ["ts"]


def test_templates_are_plain_text_in_static_files_and_rendered_in_dynamic_ones() -> None:
    static, _ = parse_static("providers: {file: {filename: '{{ env `X` }}.yml'}}")
    assert static.providers.file is not None
    assert static.providers.file.filename == "{{ env `X` }}.yml"
    text = "http:\n  routers:\n{{ range $n := until 2 }}\n    r{{ $n }}:\n      rule: y\n      service: s\n{{ end }}"
    text += "    b: {bogus: 1}\n"
    config, _ = parse_dynamic(text)
    assert [(name, router.place) for name, router in config.http.routers.items()] == [
        ("r0", "dynamic.yml:4"),
        ("r1", "dynamic.yml:4"),
        ("b", "dynamic.yml:7"),
    ]
    assert config.http.routers["b"].faults[0].startswith("dynamic.yml:7: bogus: unknown key 'bogus' (known here: ")
    wrong = [("http:\n  {{ nope }}", 2), ("# {{ a comment }}", 1), ("\n{{ if true }}\nhttp: [\n{{ end }}", 4)]
    for text, line in wrong:
        with pytest.raises(ConfigError) as caught:
            parse_dynamic(text)
        assert [problem.line for problem in caught.value.problems] == [line]


def test_the_first_of_several_documents_is_read() -> None:
    config, warnings = parse_dynamic("http: {routers: {r: {rule: x, service: s}}}\n---\nhttp: {bogus: 1}\n")
    assert set(config.http.routers) == {"r"}
    assert [str(note) for note in warnings] == ["dynamic.yml:3: a second document, ignored (only the first is read)"]


def test_keys_of_the_other_kind_of_file_are_one_warning() -> None:
    assert warned("http: {routers: {r: {rule: x, service: s}}}\nentryPoints: {}\nproviders: {}\n") == [
        "dynamic.yml:2: entryPoints, providers: static configuration, ignored in a dynamic file "
        "(it is read from the file that --config names)"
    ]


def test_tables_of_toml_that_no_header_names_have_the_line_of_the_first_below_them() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_static('[log]\nlevel = "INFO"\n[entryPointz.web.http]\n[log.bogus.deep]\na = 1\n', "a.toml")
    assert [(problem.path, problem.line) for problem in caught.value.problems] == [("log.bogus", 4)]
    assert faults("[http.services.s.loadBalancer.healthChek.x]\na = 1\n", "a.toml")["s"][0].startswith("a.toml:1: ")


def test_a_tab_is_named() -> None:
    with pytest.raises(ConfigError, match=r"d.yml:2: no valid YAML: a tab \(indent with spaces\)"):
        parse_dynamic("http:\n\trouters: {}\n", "d.yml")


def test_headers_of_the_connection_are_dropped_with_a_warning() -> None:
    config, warnings = parse_dynamic(
        "http: {middlewares: {m: {headers: {customRequestHeaders: {Connection: Upgrade, X-A: '1'}}},"
        " only: {headers: {customResponseHeaders: {Content-Length: '3'}}}}}"
    )
    headers = config.http.middlewares["m"].headers
    assert headers is not None
    assert headers.custom_request_headers == {"X-A": "1"}
    assert config.http.middlewares["only"].headers is not None
    assert {note.path for note in warnings} == {
        "http.middlewares.m.headers.customRequestHeaders.Connection",
        "http.middlewares.only.headers.customResponseHeaders.Content-Length",
    }


def test_objects_that_stand_elsewhere_in_a_file_are_equal() -> None:
    text = "http: {routers: {r: {rule: x, service: s}}}"
    assert parse_dynamic(text)[0] == parse_dynamic("\n\n" + text)[0]
    assert parse_dynamic(text)[0] != parse_dynamic(text.replace("x", "y"))[0]


def test_a_problem_as_a_reader_of_its_object_sees_it() -> None:
    assert Problem("a.b", "wrong", "do it", "f.yml", 3).inside() == "f.yml:3: a.b: wrong (do it)"


def test_an_unknown_key_without_a_value_is_ignored() -> None:
    """What stands below it may be commented out."""
    text = f"http: {{foo: null, {SERVICE % ', healthChck: null'}}}\ntls: {{stores: {{default: {{bar: null}}}}}}\n"
    assert not any(faults(text).values())
    said = "\n".join(warned(text))
    for key in ("http.foo", "s.loadBalancer.healthChck", "default.bar"):
        assert f"{key}: unknown key '{key.rpartition('.')[2]}' without a value, ignored" in said
    assert "did you mean healthCheck?" in said
    assert "entryPoints.web.adress" in warned("entryPoints: {web: {adress: null, address: ':80'}}\n", static=True)[0]
    for value in ("{}", "[]", "''", "x"):
        assert faults(f"http: {{{SERVICE % f', healthChck: {value}'}}}")["s"]


def test_the_items_of_a_list_are_trimmed() -> None:
    assert router("middlewares: [' a', 'b ']").middlewares == ["a", "b"]
    assert router("entryPoints: [' web ']").entry_points == ["web"]
    assert router("middlewares: ['a b']").middlewares == ["a b"]
    assert balancer(", serversTransport: ' t'").servers_transport == " t"


def test_a_switch_where_a_text_is_meant_is_written_in_small_letters() -> None:
    text = "http: {middlewares: {m: {headers: {customResponseHeaders: {A: True, B: FALSE, C: 'True', D: yes}}}}}\n"
    headers = parse_dynamic(text)[0].http.middlewares["m"].headers
    assert headers is not None
    assert headers.custom_response_headers == {"A": "true", "B": "false", "C": "True", "D": "yes"}


@pytest.mark.parametrize("path", ["/health\\n", " /health", "/ "])
def test_space_around_the_path_of_a_health_check_disables_its_service_alone(path: str) -> None:
    """It kept the whole configuration from being read."""
    more = f', healthCheck: {{path: "{path}"}}'
    routers = "routers: {r: {rule: 'Path(`/`)', service: s}, other: {rule: 'Path(`/x`)', service: noop@internal}}"
    config = merge({"file": parse_dynamic(f"http: {{{routers}, {SERVICE % more}}}")[0]})
    disabled, _ = find_problems(config, StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}}))
    assert [(entry.kind, entry.name) for entry in disabled] == [("router", "r@file"), ("service", "s@file")]
    assert "must be a relative URL" in disabled[1].errors[0]


def test_an_anchor_that_comes_twice_counts_from_there_on() -> None:
    text = (
        "x: [&r {rule: a, service: s}, &s {rule: b, service: s}]\nhttp:\n  routers:\n    one: *r\n"
        "    two: &r {rule: c, service: s}\n    three: *r\n    four: *s\n---\nx: *nothing\n"
    )
    config, _ = parse_dynamic(text)
    assert {name: router.rule for name, router in config.http.routers.items()} == {
        "one": "a", "two": "c", "three": "c", "four": "b",
    }  # fmt: skip
    assert config.http.routers["four"].place == "dynamic.yml:7"
    for wrong, line in (("a: &a 1\nb: &a 2\nc: *d\n", 3), ("a: &a 1\nb: &a [\n", 3)):
        with pytest.raises(ConfigError) as caught:
            parse_dynamic(wrong)
        assert [problem.line for problem in caught.value.problems] == [line]


@pytest.mark.parametrize("start", ["", "a:\n  ", "a: 1\u2028", "a: 1\x85"])
def test_only_what_begins_a_line_nests(start: str) -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse_dynamic(f"{start}{'- ' * 150}x")
    assert parse_dynamic(f"# {'- ' * 150}\nx-a: '{'? ' * 150}'\n")[0] == parse_dynamic("x-a: b\n")[0]


def test_an_empty_list_leaves_a_default_that_is_none() -> None:
    text = "http: {middlewares: {c: {compress: {encodings: %s}}, l: {rateLimit: {average: 1, redis: {endpoints: %s}}}}}"
    usual = parse_dynamic(text % ("null", "null"))[0].http.middlewares
    assert usual["c"].compress is not None and usual["c"].compress.encodings
    for empty in ("[]", "''", "{}"):
        assert parse_dynamic(text % (empty, empty))[0].http.middlewares == usual


def test_names_of_headers_in_one_text_are_several() -> None:
    keys = "{address: 'http://a', authResponseHeaders: ['A, B', C], authRequestHeaders: ['D']}"
    config, warnings = parse_dynamic(f"http: {{middlewares: {{m: {{forwardAuth: {keys}}}}}}}")
    found = config.http.middlewares["m"].forward_auth
    assert found is not None
    assert (found.auth_response_headers, found.auth_request_headers) == (["A", "B", "C"], ["D"])
    assert [warning.path for warning in warnings] == ["http.middlewares.m.forwardAuth.authResponseHeaders"]
    assert "m" in faults("http: {middlewares: {m: {forwardAuth: {address: 'http://a', authResponseHeaders: ['A B']}}}}")


def test_an_empty_domain_names_nothing() -> None:
    found = router("tls: {domains: [{main: null}, {}, {main: a.test, sans: null}]}")
    assert found.faults == ()
    assert [domain.names for domain in found.tls.domains] == [(), (), ("a.test",)]


def test_a_collector_that_cannot_be_reached_by_its_address_is_left_out() -> None:
    text = "tracing: {otlp: {http: {endpoint: 'a:1'}}}\nmetrics: {prometheus: {}, otlp: {grpc: {endpoint: a}}}\n"
    static, warnings = parse_static(text)
    assert static.tracing is None
    assert static.metrics is not None and static.metrics.prometheus is not None and static.metrics.otlp is None
    assert [warning.path for warning in warnings] == ["tracing", "metrics.otlp"]
    for sound in ("{}", "{otlp: {}}", "{otlp: {grpc: {}}}", "{otlp: {grpc: {endpoint: 'a:1'}}}"):
        assert parse_static(f"tracing: {sound}\n")[0].tracing is not None
