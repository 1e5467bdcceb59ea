"""Files to models: every problem at once, each with its line; nothing unknown is passed over."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import TextLoader, load_dynamic, parse_dynamic, parse_static
from lbcore.config.static import StaticConfig
from lbcore.errors import ConfigError

STATIC = """
entryPoints:
  web:
    adress: ":80"
    transport: [1]
    http: {maxHeaderBytes: many, tls: {certResolver: [le]}}
    proxyProtocol: yes
  other: {address: "80", asDefault: maybe}
hostResolver: {}
log: {level: loud}
providers: {file: {}}
"""


def problems(text: str, name: str = "file.yml", *, static: bool = False) -> list[str]:
    """What refuses a file, or else what disables its objects."""
    try:
        config, _ = (parse_static if static else parse_dynamic)(text, name)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    assert isinstance(config, DynamicConfig)
    parts = [getattr(part, kind) for part in (config.http, config.tcp) for kind in type(part).model_fields]
    found = [fault for objects in parts for thing in objects.values() for fault in thing.faults]
    assert found, "nothing is wrong"
    return found


def test_every_problem_is_reported_with_its_line() -> None:
    assert problems(STATIC, static=True) == [
        "file.yml:4: entryPoints.web.adress: unknown key 'adress' (did you mean address?)",
        "file.yml:5: entryPoints.web.transport: needs keys and values, not a list",
        "file.yml:6: entryPoints.web.http.maxHeaderBytes: 'many' is not a whole number",
        "file.yml:6: entryPoints.web.http.tls.certResolver: needs a single value, not a list",
        "file.yml:7: entryPoints.web.proxyProtocol: needs keys and values, not 'yes'",
        "file.yml:8: entryPoints.other.address: '80' has no port: write :80",
        "file.yml:8: entryPoints.other.asDefault: 'maybe' is neither true nor false",
        "file.yml:10: log.level: 'LOUD' has to be one of 'TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL' or 'PANIC'",
        "file.yml:11: providers.file: file cannot be a standalone element: it needs at least one key",
    ]


def test_keys_are_matched_without_case_and_scalars_may_be_quoted() -> None:
    config, warnings = parse_dynamic(
        "HTTP: {Services: {s: {loadbalancer: {servers: [{URL: 'http://a', Weight: '3'}], passhostheader: 'false'}}}}"
    )
    balancer = config.http.services["s"].load_balancer
    assert balancer is not None
    assert (balancer.servers[0].weight, balancer.pass_host_header, warnings) == (3, False, [])


def test_text_values_stay_as_written() -> None:
    config, _ = parse_dynamic("http: {middlewares: {h: {headers: {customRequestHeaders: {A: 1.10, B: yes, C: 0x1}}}}}")
    headers = config.http.middlewares["h"].headers
    assert headers is not None
    assert headers.custom_request_headers == {"A": "1.10", "B": "yes", "C": "0x1"}


def test_toml_says_the_same_as_yaml() -> None:
    toml = """
[http.routers.r]
rule = "Host(`a`)"
service = "s"
[[http.services.s.loadBalancer.servers]]
url = "http://a"
weight = 2
"""
    services = "services: {s: {loadBalancer: {servers: [{url: 'http://a', weight: 2}]}}}"
    yaml = f"http: {{routers: {{r: {{rule: Host(`a`), service: s}}}}, {services}}}"
    assert parse_dynamic(toml, "a.toml")[0] == parse_dynamic(yaml)[0]


def test_problems_in_toml_have_their_lines() -> None:
    text = '[http.routers.r]\nrule = "x"\n[[http.services.s.loadBalancer.servers]]\nurl = "http://a"\nweigth = 2\n'
    assert problems(text, "a.toml") == [
        "a.toml:5: loadBalancer.servers[0].weigth: unknown key 'weigth' (did you mean weight?)"
    ]
    assert problems("[http\n", "a.toml")[0].startswith("a.toml:1: no valid TOML: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http: [", "no valid YAML"),
        ("- a\n- b", "does not hold keys and values"),
        ("http: {routers: {r: {}, r: {}}}", "the key stands here twice"),
        ('http: {routers: {r: {rule: "{{ nope `X` }}"}}}', "yml:1: template: there is no template function nope"),
        ("http: {middlewares: {h: {headers: {}}}}", "headers cannot be a standalone element"),
        ("http: {routers: {r: {priority: 9223372036854775807}}}", "above the highest priority"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: *b\n" + "".join(f"k{n}: &k{n} [*b, *b]\n" for n in range(3)), None),
    ],
)
def test_what_files_must_not_hold(text: str, problem: str | None) -> None:
    if problem is None:
        assert parse_dynamic(text)[0].is_empty
    else:
        assert problem in "\n".join(problems(text))


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too many elements" in problems("\n".join(lines))[0]


def test_deep_nesting_is_refused() -> None:
    for text in ("a: " + "[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000):
        assert "nested too deeply" in problems(text)[0]
    assert "nested too deeply" in problems("a: " + "[" * 200 + "]" * 200)[0]


def test_unknown_sections_are_warned_about_and_private_ones_are_not() -> None:
    config, warnings = parse_dynamic("x-anchors: {a: 1}\nhtpp: {}\n")
    assert config.is_empty
    assert [str(warning) for warning in warnings] == ["dynamic.yml:2: htpp: unknown key, ignored (did you mean http?)"]


def test_extensions_are_merged_over_the_rest() -> None:
    text = """
http: {services: {s: {loadBalancer: {servers: [{url: "http://a"}], passHostHeader: true}}}}
lbcore: {http: {services: {s: {loadBalancer: {passHostHeader: false}}}}}
"""
    balancer = parse_dynamic(text)[0].http.services["s"].load_balancer
    assert balancer is not None
    assert (len(balancer.servers), balancer.pass_host_header) == (1, False)


def test_merge_keys_and_anchors_work() -> None:
    text = """
x-base: &base {weight: 5}
http: {services: {s: {loadBalancer: {servers: [{<<: *base, url: "http://a"}]}}}}
"""
    balancer = parse_dynamic(text)[0].http.services["s"].load_balancer
    assert balancer is not None
    assert balancer.servers[0].weight == 5


def test_directory_is_one_configuration_and_the_first_name_wins(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("http: {services: {s: {loadBalancer: {servers: [{url: 'http://first'}]}}}}")
    (tmp_path / "b.toml").write_text('[[http.services.s.loadBalancer.servers]]\nurl = "http://second"\n')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text("http: {services: {t: {loadBalancer: {}}}}")
    config, warnings = load_dynamic(tmp_path)
    balancer = config.http.services["s"].load_balancer
    assert balancer is not None
    assert balancer.servers[0].url == "http://first"
    assert set(config.http.services) == {"s", "t"}
    assert ["already defined" in str(warning) for warning in warnings] == [True]


@pytest.mark.parametrize("text", ["traefik: {}", "traefik: {http: {maxHeaderBytes: 1000}}"])
def test_the_internal_entry_point_has_its_port_unless_it_names_one(text: str) -> None:
    config, warnings = parse_static("entryPoints: {web: {address: ':80'}, " + text + "}\nproviders: {rest: {}}")
    assert {name: point.address for name, point in config.entry_points.items()} == {"web": ":80", "traefik": ":8080"}
    assert not warnings
    other, _ = parse_static("entryPoints: {web: {address: ':80'}, traefik: {address: ':99'}}")
    assert other.entry_points["traefik"].address == ":99"


def test_static_defaults_are_traefiks() -> None:
    config, _ = parse_static("ping: {}")
    assert {name: point.address for name, point in config.entry_points.items()} == {"http": ":80", "traefik": ":8080"}
    point = config.entry_points["http"]
    assert point.transport.responding_timeouts.read_timeout == timedelta(seconds=60)
    assert point.http.max_header_bytes == 1 << 20
    assert config.servers_transport.max_idle_conns_per_host == 200


@given(st.integers(1, 100), st.sampled_from(["1s", "250ms", "1m30s"]), st.booleans())
def test_models_survive_the_way_to_a_worker(weight: int, flush: str, pass_host: bool) -> None:
    text = (
        "http: {routers: {r: {rule: Host(`a`), service: s, priority: 7}}, services: {s: {loadBalancer: {servers: "
        f"[{{url: 'http://a', weight: {weight}}}], passHostHeader: {str(pass_host).lower()}, "
        f"responseForwarding: {{flushInterval: {flush}}}}}}}}}}}"
    )
    config = parse_dynamic(text)[0]
    data = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert DynamicConfig.model_validate(data) == config


def test_static_models_survive_the_way_to_a_worker() -> None:
    config, _ = parse_static(
        "entryPoints: {web: {address: ':80', http: {redirections: {entryPoint: {to: x}}}}}\nping: {}\n"
    )
    data = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert StaticConfig.model_validate(data) == config


def test_files_with_the_same_text_have_the_same_objects() -> None:
    def text(name: str) -> str:
        return f"http:\n  routers:\n    {name}: {{rule: Host(`{name}`), service: noop@internal}}\n"

    texts = {Path("a.yml"): text("a"), Path("b.yml"): text("b"), Path("c.yml"): text('{{ "c" }}')}
    loader = TextLoader()
    first, _ = loader.load(texts)
    second, _ = loader.load({**texts, Path("b.yml"): text("b").replace("Host(`b`)", "Host(`x`)")})
    stays = {name: second.http.routers[name] is first.http.routers[name] for name in "abc"}
    assert stays == {"a": True, "b": False, "c": False}  # a template may say something else the next time
    assert second.http.routers["b"].rule == "Host(`x`)"
    assert second.lines["b.yml"](("http", "routers", "b")) == 3
    assert loader.load({Path("a.yml"): text("a")})[0].http.routers.keys() == {"a"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_yaml_may_be_utf_16_by_its_first_bytes(tmp_path: Path, encoding: str) -> None:
    """As shells and editors of Windows write it."""
    file = tmp_path / "d.yml"
    file.write_bytes("\ufeffhttp:\r\n  routers:\r\n    é: {rule: Path(`/é`), service: s}\r\n".encode(encoding))
    routers = load_dynamic(file)[0].http.routers
    assert routers["é"].rule == "Path(`/é`)"
    assert routers["é"].place == f"{file}:3"
    file.write_bytes(b"\xff\xfeh\x00t")
    with pytest.raises(ConfigError, match="not UTF-16"):
        load_dynamic(file)
    toml = tmp_path / "d.toml"
    toml.write_bytes("\ufeffa = 1\n".encode(encoding))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_dynamic(toml)


def test_a_key_in_two_spellings_counts_as_in_traefik() -> None:
    """The last one by the order of text, in which capitals come first; what stands below both is merged."""
    text = """
http:
  routers:
    a: {rule: Path(`/a`), Rule: Path(`/b`), entryPoints: [web], entrypoints: [other], tls: {options: x},
        TLS: {certResolver: y}}
  Routers:
    b: {Rule: Path(`/b`), rule: }
HTTP: {routers: {c: {rule: Path(`/c`)}}}
"""
    config, warnings = parse_dynamic(text, "file.yml")
    routers = config.http.routers
    assert set(routers) == {"a", "b", "c"}
    a = routers["a"]
    assert (a.rule, a.entry_points, a.faults) == ("Path(`/a`)", ["other"], ())
    assert a.tls is not None and (a.tls.options, a.tls.cert_resolver) == ("x", "y")
    assert routers["b"].rule == "Path(`/b`)"
    said = [str(warning) for warning in warnings]
    assert any("is written in 2 ways: Rule, rule; what rule says counts (write it once)" in line for line in said), said
