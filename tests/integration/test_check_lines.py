"""`lbcore check` names the line of the key that is wrong, each fact once, and agrees with `lbcore run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbcore.config.load import load_objects, load_static_with_warnings
from lbcore.config.static import StaticConfig
from lbcore.process.check import check_file
from lbcore.provider.merge import merge
from lbcore.routing.compile import compile_table, find_problems
from tests.support.instance import running

SERVERS = "servers: [{url: 'http://127.0.0.1:9'}]"
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
          - url: ftp://x
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


def test_looking_for_what_cannot_run_leaves_the_table_as_it_is(tmp_path: Path) -> None:
    from lbcore.process.snapshot import Publisher
    from lbcore.state.region import Region

    path = tmp_path / "dynamic.yml"
    path.write_text(f"http: {{services: {{s: {{loadBalancer: {{{SERVERS}}}}}}}}}\n")
    static = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}})
    region = Region.create(1)
    snapshot = Publisher(region, "").publish(merge({"file": load_objects(path).config}))
    table = compile_table(snapshot.dynamic, static, snapshot.slots, region, 0, {}, finds_all=True)
    assert (dict(table.services), dict(table.servers), table.disabled, table.limits) == ({}, {}, [], [])


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "{}\n", "---\n"])
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
