"""Labels: what they configure, with the defaults of Traefik, and what they must not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lbcore.config.sources import from_flags
from lbcore.config.static import StaticConfig
from lbcore.config.validate.http import check
from lbcore.errors import ConfigError
from lbcore.provider.combine import Part, combine, without_servers
from lbcore.provider.labels import Labelled, LabelReader, Said, rule_data
from lbcore.provider.merge import merge
from lbcore.template.engine import Rule

READER = LabelReader(Rule("Host(`{{ normalize .Name }}`)"), [])


def thing(labels: Mapping[str, str], name: str = "web", port: str = "80", is_up: bool = True) -> Labelled:
    def address(wanted: str) -> tuple[str, str]:
        if not (wanted or port):
            raise ValueError("port is missing")
        return "10.0.0.1", wanted or port

    return Labelled(f"container {name}", name, labels, rule_data(name, labels, name), is_up, address)


def read(labels: Mapping[str, str], reader: LabelReader = READER, **more: Any) -> Said:
    return reader.read(thing(labels, **more))


def http(labels: Mapping[str, str], **more: Any) -> Any:
    said = read(labels, **more)
    assert said.config is not None, said.problems
    return said.config.http


def faults(labels: Mapping[str, str]) -> dict[str, str]:
    """The faults of all objects."""
    said = read(labels)
    assert said.config is not None, said.problems
    parts = [said.config.http.routers, said.config.http.services, said.config.http.middlewares, said.config.tcp.routers]
    return {name: "; ".join(each.faults) for part in parts for name, each in part.items() if each.faults}


def test_a_container_without_labels_gets_a_router_and_a_service() -> None:
    config = http({})
    assert config.routers["web"].rule == "Host(`web`)"
    assert config.routers["web"].service == "web"
    assert config.services["web"].members == ["http://10.0.0.1:80"]


def test_labels_are_read_as_traefik_reads_them() -> None:
    config = http(
        {
            "traefik.http.routers.Shop.rule": "Host(`shop.test`)",
            "traefik.http.routers.shop.EntryPoints": "web, websecure",
            "traefik.http.routers.shop.tls": "true",
            "traefik.http.routers.shop.tls.domains[0].main": "a.test",
            "traefik.http.routers.shop.tls.domains[0].sans": "b.test,c.test",
            "traefik.http.routers.shop.middlewares": "strip@docker",
            "traefik.http.routers.shop.priority": "12",
            "traefik.http.middlewares.strip.stripprefix.prefixes": "/a,/b",
            "traefik.http.services.s.loadbalancer.server.port": "8080",
            "traefik.http.services.s.loadbalancer.server.scheme": "https",
            "traefik.http.services.s.loadbalancer.server.weight": "3",
            "traefik.http.services.s.loadbalancer.sticky.cookie": "true",
            "traefik.http.services.s.loadbalancer.sticky.cookie.name": "id",
            "traefik.http.services.s.loadbalancer.passhostheader": "false",
            "traefik.enable": "true",
            "traefik.docker.network": "n",
            "org.other": "x",
        }
    )
    router, service = config.routers["Shop"], config.services["s"]
    assert router.entry_points == ["web", "websecure"]
    assert (router.priority, router.service, router.middlewares) == (12, "s", ["strip@docker"])
    assert router.tls.domains[0].names == ("a.test", "b.test", "c.test")
    assert config.middlewares["strip"].strip_prefix.prefixes == ["/a", "/b"]
    assert service.members == ["https://10.0.0.1:8080"]
    assert service.load_balancer.servers[0].weight == 3
    assert service.load_balancer.sticky.cookie.name == "id"
    assert service.load_balancer.pass_host_header is False


def test_list_items_are_in_the_order_of_their_numbers() -> None:
    labels = {f"traefik.http.middlewares.c.chain.middlewares[{n}]": f"m{n}" for n in range(12)}
    assert http(labels).middlewares["c"].chain.middlewares == [f"m{n}" for n in range(12)]


def test_a_name_of_digits_is_a_name() -> None:
    assert http({"traefik.http.routers.123.rule": "Path(`/`)"}).routers["123"].rule == "Path(`/`)"


def test_a_switch_that_is_off_is_absent() -> None:
    assert http({"traefik.http.routers.a.tls": "false"}).routers["a"].tls is None
    assert http({"traefik.http.routers.a.tls": ""}).routers["a"].tls is not None


def test_a_router_without_service_leads_to_the_only_one() -> None:
    two = {
        "traefik.http.routers.r.rule": "Path(`/`)",
        "traefik.http.services.a.loadbalancer.server.port": "1",
        "traefik.http.services.b.loadbalancer.server.port": "2",
    }
    assert (
        "traefik.http.routers.r.service: cannot be linked automatically with multiple services: a, b"
        in faults(two)["r"]
    )
    del two["traefik.http.services.b.loadbalancer.server.port"]
    assert http(two).routers["r"].service == "a"


def test_several_services_and_no_router_make_none() -> None:
    said = read({f"traefik.http.services.{name}.loadbalancer.server.port": "1" for name in "ab"})
    assert said.config is not None
    assert not said.config.http.routers
    assert "several services and no router" in said.warnings[0]


def test_layer_4_alone_makes_no_http_router() -> None:
    said = read(
        {
            "traefik.tcp.routers.db.rule": "HostSNI(`*`)",
            "traefik.tcp.services.db.loadbalancer.server.port": "5432",
            "traefik.tcp.services.db.loadbalancer.proxyprotocol.version": "1",
        }
    )
    assert said.config is not None
    assert not said.config.http.routers
    assert said.config.tcp.routers["db"].service == "db"
    assert said.config.tcp.services["db"].members == ["10.0.0.1:5432"]
    assert faults({"traefik.tcp.routers.db.entrypoints": "x"})["db"].endswith("traefik.tcp.routers.db.rule: is missing")


def test_udp_has_a_router_without_a_rule() -> None:
    labels = {"traefik.udp.routers.dns.entrypoints": "dns", "traefik.udp.services.d.loadbalancer.server.port": "53"}
    said = read(labels)
    assert said.config is not None
    assert not said.config.http.routers
    assert said.config.udp.routers["dns"].service == "d"
    assert said.config.udp.routers["dns"].entry_points == ["dns"]
    assert [server.address for server in said.config.udp.services["d"].load_balancer.servers] == ["10.0.0.1:53"]


def test_a_url_excludes_port_and_scheme() -> None:
    labels = {"traefik.http.services.s.loadbalancer.server.url": "http://10.9.9.9:1"}
    assert http(labels).services["s"].members == ["http://10.9.9.9:1"]
    assert "url excludes port" in faults({**labels, "traefik.http.services.s.loadbalancer.server.port": "1"})["s"]


def test_the_case_of_a_scheme_does_not_matter() -> None:
    server = "traefik.http.services.s.loadbalancer.server"
    assert http({f"{server}.port": "1", f"{server}.scheme": "HTTPS"}).services["s"].members == ["https://10.0.0.1:1"]


def test_a_container_that_is_down_keeps_its_router_without_a_server() -> None:
    config = http({"traefik.http.services.s.loadbalancer.server.port": "1"}, is_up=False)
    assert config.routers["web"].service == "s"
    assert config.services["s"].members == []


def test_no_port_disables_the_services_that_need_one() -> None:
    assert read({}, port="").config is None
    labels = {"traefik.http.routers.d.rule": "Path(`/`)", "traefik.http.routers.d.service": "api@internal"}
    assert http(labels, port="").routers["d"].service == "api@internal"
    middleware = {"traefik.http.middlewares.m.addprefix.prefix": "/m"}
    alone = http(middleware, port="")
    assert (list(alone.middlewares), alone.routers, alone.services) == (["m"], {}, {})
    said = read({"traefik.http.routers.d.rule": "Path(`/`)", **middleware}, port="")
    assert said.config is not None
    assert said.config.http.services["web"].faults == ("container web: port is missing",)
    assert not said.config.http.routers["d"].faults
    assert list(said.config.http.middlewares) == ["m"]
    server = "loadbalancer.server"
    tcp = {f"traefik.tcp.services.a.{server}.port": "1", f"traefik.tcp.services.b.{server}.tls": "true"}
    config = read(tcp, port="").config
    assert config is not None
    assert [service.faults for service in config.tcp.services.values()] == [(), ("container web: port is missing",)]


def test_what_is_wrong_in_one_of_several_definitions_is_told() -> None:
    rule = {"traefik.http.routers.r.rule": "Path(`/`)"}
    found = [read(rule, port=port).config for port in ("80", "")]
    config, problems = combine([Part(str(n), each, (n,)) for n, each in enumerate(found) if each is not None])
    assert config.http.services["web"].members == ["http://10.0.0.1:80"]
    assert problems == ["service web: one definition does not count: container web: port is missing"]


@pytest.mark.parametrize(
    ("label", "value", "name", "text"),
    [
        (
            "traefik.http.routers.web.prioritty",
            "1",
            "web",
            "traefik.http.routers.web.prioritty: unknown key 'prioritty' (did you mean priority?)",
        ),
        (
            "traefik.http.routers.web.priority",
            "x",
            "web",
            "traefik.http.routers.web.priority: 'x' is not a whole number",
        ),
        ("traefik.http.services.s.loadbalancer.server.port", "0", "s", "'0' is no port"),
        ("traefik.http.services.s.loadbalancer.server.scheme", "ftp", "s", "'ftp' is no scheme"),
        ("traefik.http.middlewares.m.headers.customrequestheader.X", "1", "m", "did you mean customRequestHeaders?"),
    ],
)
def test_only_the_object_of_a_bad_label_is_refused(label: str, value: str, name: str, text: str) -> None:
    good = {"traefik.http.routers.other.rule": "Path(`/`)", "traefik.http.routers.other.service": "o"}
    good |= {"traefik.http.services.o.loadbalancer.server.port": "1"}
    found = faults({**good, label: value})
    assert list(found) == [name]
    assert found[name].startswith("container web: traefik.")
    assert text in found[name]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("traefik.http.routes.web.rule", "traefik.http.routes: unknown key 'routes' (did you mean routers?)"),
        ("Traefik.http.routers.web.rule", "'Traefik' is no root of labels (write traefik)"),
        ("traefik.http..web.rule", "a part of the label is empty"),
        # What is to hide a container must not expose it.
        ("traefik.enabled", "traefik.enabled: unknown label 'enabled' (did you mean enable?)"),
        ("traefik.enable: true", "traefik.enable: true: unknown label 'enable: true' (did you mean enable?)"),
        ("traefik.https.routers.web.rule", "unknown label 'https' (did you mean http?)"),
        ("traefik.docker.netwrok", "unknown label 'docker.netwrok' (did you mean network?)"),
        ("traefik.docker.network.name", "unknown label 'docker.network.name' (did you mean network?)"),
    ],
)
def test_a_label_of_no_object_refuses_the_container(label: str, text: str) -> None:
    said = read({label: "Path(`/`)"})
    assert said.config is None
    assert text in said.problems[0]
    assert said.problems[0].startswith("container web: ")


def test_a_name_may_have_an_at_sign() -> None:
    labels = {"traefik.http.routers.a@file.rule": "Path(`/`)", "traefik.http.routers.b.rule": "Path(`/b`)"}
    config = http({**labels, "traefik.http.middlewares.auth@file.addprefix.prefix": "/x"})
    assert set(config.routers) == {"a@file", "b"}
    assert set(config.middlewares) == {"auth@file"}


@pytest.mark.parametrize("value", ["true", "", "{}"])
def test_a_section_without_keys(value: str) -> None:
    config = http({"traefik.http.routers.a.rule": "Path(`/`)", "traefik.http.routers.a.tls": value})
    assert config.routers["a"].tls is not None


@pytest.mark.parametrize(
    "label",
    [
        "traefik.http.services.s.weighted.services[0].name",
        "traefik.http.serverstransports.t.insecureskipverify",
        "traefik.tls.options.o.minversion",
        "traefik.port",
    ],
)
def test_labels_that_traefik_ignores_are_ignored_with_a_warning(label: str) -> None:
    said = read({label: "x"})
    assert said.config is not None
    assert said.warnings[0].startswith(f"container web: {label}: ")
    assert not said.problems


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("traefik.http.services.s.loadbalancer.server.url", "unix:/var/run/docker.sock"),
        ("traefik.http.services.s.loadbalancer.server.url", " UNIX:/var/run/docker.sock"),
        ("traefik.tls.stores.default.defaultcertificate.certfile", "/etc/shadow"),
        ("traefik.tls.stores.default.defaultcertificate.keyFile", "/etc/shadow"),
        ("traefik.http.middlewares.a.basicauth.usersfile", "/etc/shadow"),
        ("traefik.http.middlewares.a.ratelimit.redis.tls.ca", "/etc/shadow"),
        ("traefik.http.middlewares.a.ratelimit.redis.tls.key", "/etc/shadow"),
        ("traefik.http.middlewares.a.forwardauth.tls.ca", "/etc/shadow"),
        ("traefik.http.middlewares.a.forwardauth.tls.ca", "-----BEGIN CERTIFICATE-----,/etc/shadow"),
        ("traefik.http.middlewares.a.forwardauth.address", "unix:/etc/shadow"),
        ("traefik.http.middlewares.a.apikey.keysfile", "/etc/shadow"),
        ("traefik.http.middlewares.a.basicauth.usersfile", "/etc/shadow/-----BEGIN/.."),
        ("traefik.http.middlewares.a.basicauth.usersfile", "ALLOWED/../secret"),
        ("traefik.http.middlewares.a.basicauth.usersfile", "ALLOWED/link"),
    ],
)
def test_labels_do_not_reach_files_of_the_host(label: str, value: str, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to("/etc/shadow")
    reader = LabelReader(Rule("Host(`a`)"), [str(allowed)])
    said = read({label: value.replace("ALLOWED", str(allowed))}, reader)
    assert said.config is not None
    objects = [
        *said.config.http.services.values(),
        *said.config.http.middlewares.values(),
        *said.config.tls.stores.values(),
    ]
    refused = [each for each in objects if any("may not name files" in fault for fault in each.faults)]
    assert len(refused) == 1
    assert "shadow" not in str(refused[0].model_dump())


def test_what_labels_say_is_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LBCORE_TEST", "SECRET")
    text = '{{ env "LBCORE_TEST" }}{{ .Labels }}'
    header = {"traefik.http.middlewares.m.headers.customrequestheaders.X-A": text}
    # A rule of the operator may take the text of a label over.
    reader = LabelReader(Rule("Header(`X-A`, `{{ index .Labels `name` }}`)"), [])
    said = read({"name": text, "traefik.http.routers.r.middlewares": "m", **header}, reader)
    assert said.config is not None
    assert said.config.http.routers["r"].rule == f"Header(`X-A`, `{text}`)"
    headers = said.config.http.middlewares["m"].headers
    assert headers is not None and headers.custom_request_headers == {"X-A": text}
    assert "SECRET" not in str(said)


def test_folders_may_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.sock").touch()
    url = f"unix:{tmp_path}/a.sock"
    reader = LabelReader(Rule("Host(`a`)"), [str(tmp_path)])
    said = read({"traefik.http.services.s.loadbalancer.server.url": url}, reader)
    assert said.config is not None
    assert said.config.http.services["s"].members == [url]


def test_a_router_may_be_there_by_its_name_alone() -> None:
    for value in ("true", ""):
        router = http({"traefik.http.routers.shop": value}).routers["shop"]
        assert (router.rule, router.service, router.faults) == ("Host(`web`)", "web", ())
    assert faults({"traefik.http.routers.shop": "x"}) == {
        "shop": "container web: traefik.http.routers.shop: needs keys and values, not 'x'"
    }


@pytest.mark.parametrize("value", ["false", "False", "0", "F"])
def test_a_section_that_is_off_is_so_whatever_stands_below_it(value: str) -> None:
    below = {"traefik.http.routers.a.tls.certresolver": "le", "traefik.http.routers.a.rule": "Path(`/`)"}
    assert http({**below, "traefik.http.routers.a.tls": value}).routers["a"].tls is None
    assert http({**below, "traefik.http.routers.a.TLS": value}).routers["a"].tls is None
    assert http({**below, "traefik.http.routers.a.tls": ""}).routers["a"].tls is not None


@pytest.mark.parametrize("key", ["middlewares", "entrypoints"])
def test_a_name_that_is_empty_does_not_leave_the_others_alone(key: str) -> None:
    labels = {"traefik.http.routers.a.rule": "Path(`/`)", f"traefik.http.routers.a.{key}": ",web"}
    labels |= {"traefik.http.middlewares.web.addprefix.prefix": "/x"}
    router = http(labels).routers["a"]
    assert (router.middlewares if key == "middlewares" else router.entry_points) == ["", "web"]


def test_the_name_of_a_header_may_have_dots() -> None:
    name = "traefik.http.middlewares.m.headers.customrequestheaders"
    headers = http({f"{name}.X.One": "1", f"{name}.X": "2", f"{name}.Y": "3"}).middlewares["m"].headers
    assert headers.custom_request_headers == {"X.One": "1", "X": "2", "Y": "3"}


def test_of_two_spellings_of_a_label_the_last_one_counts() -> None:
    name = "traefik.http.routers.a"
    labels = {f"{name}.rule": "Path(`/a`)", f"{name}.Rule": "Path(`/b`)"}
    labels |= {f"{name}.EntryPoints": "a", f"{name}.entrypoints": "b"}
    router = http(labels).routers["a"]
    assert (router.rule, router.entry_points) == ("Path(`/a`)", ["b"])


@pytest.mark.parametrize("layer", ["http", "tcp", "udp"])
def test_a_service_may_be_there_as_a_whole_beside_its_port(layer: str) -> None:
    name = f"traefik.{layer}.services.s.loadbalancer"
    said = read({name: "true", f"{name}.server.port": "81", f"traefik.{layer}.routers.r.rule": "HostSNI(`*`)"})
    assert said.config is not None
    service = getattr(said.config, layer).services["s"]
    assert not service.faults
    assert "10.0.0.1:81" in str(service.load_balancer.servers)


@pytest.mark.parametrize("label", ["port", "scheme"])
def test_an_empty_port_or_scheme_is_none(label: str) -> None:
    config = http({f"traefik.http.services.s.loadbalancer.server.{label}": ""})
    assert config.services["s"].members == ["http://10.0.0.1:80"]


@pytest.mark.parametrize("layer", ["tcp", "udp"])
def test_a_service_is_there_by_an_address_that_labels_cannot_set(layer: str) -> None:
    said = read({f"traefik.{layer}.services.s.loadbalancer.server.address": "1.2.3.4:5"})
    assert said.config is not None
    assert "10.0.0.1:80" in str(getattr(said.config, layer).services["s"].load_balancer.servers)
    assert said.warnings[0].endswith("cannot be set by a label, ignored (the port alone can: server.port)")


@pytest.mark.parametrize("layer", ["http", "tcp", "udp"])
def test_labels_do_not_list_servers(layer: str) -> None:
    said = read({f"traefik.{layer}.services.s.loadbalancer.servers[0].port": "81"})
    assert said.config is not None
    (fault,) = getattr(said.config, layer).services["s"].faults
    assert "a label says something about one server: write server" in fault


def test_middlewares_of_layer_4_alone_leave_the_router_of_http() -> None:
    said = read({"traefik.tcp.middlewares.m.inflightconn.amount": "1"})
    assert said.config is not None
    assert list(said.config.http.routers) == list(said.config.http.services) == ["web"]
    assert list(said.config.tcp.middlewares) == ["m"]
    assert not said.config.tcp.services


def test_a_text_in_place_of_domains_is_the_name_of_one() -> None:
    tls = http({"traefik.http.routers.shop.tls.domains": "shop.test"}).routers["shop"].tls
    assert [domain.names for domain in tls.domains] == [("shop.test",)]


def test_a_router_knows_whether_its_rule_is_its_own() -> None:
    assert http({}).routers["web"].ruled_by_default
    ruled = http({"traefik.http.routers.shop.rule": "Host(`shop.test`)"}).routers["shop"]
    assert not ruled.ruled_by_default
    assert ruled == type(ruled).model_validate({"rule": "Host(`shop.test`)", "service": "web"})


def part(name: str, labels: Mapping[str, str], age: int, is_up: bool = True, port: str = "80") -> Part:
    said = read(labels, name="web", is_up=is_up, port=port)
    assert said.config is not None
    return Part(name, said.config, (age,), is_up)


def test_servers_of_equal_services_add_up() -> None:
    config, problems = combine([part("b", {}, 2, port="82"), part("a", {}, 1, port="81"), part("c", {}, 3, port="81")])
    assert config.http.services["web"].members == ["http://10.0.0.1:81", "http://10.0.0.1:82"]
    assert not problems


def test_the_newest_that_is_up_decides_and_nothing_is_removed() -> None:
    rule = "traefik.http.routers.web.rule"
    old, new = part("old", {rule: "Path(`/old`)"}, 1, port="81"), part("new", {rule: "Path(`/new`)"}, 2, port="82")
    config, problems = combine([old, new])
    assert config.http.routers["web"].rule == "Path(`/new`)"
    assert config.http.services["web"].members == ["http://10.0.0.1:82", "http://10.0.0.1:81"]
    assert problems == ["router web is defined differently by new and by old: new is newer, and counts"]
    starting = part("new", {rule: "Path(`/new`)"}, 2, is_up=False)
    config, _ = combine([old, starting])
    assert config.http.routers["web"].rule == "Path(`/old`)"
    assert config.http.services["web"].members == ["http://10.0.0.1:81"]


def test_a_container_that_is_gone_counts_least_and_is_not_named() -> None:
    rule = "traefik.http.routers.web.rule"
    gone = part("gone", {rule: "Path(`/gone`)"}, 9)
    gone = Part("gone", without_servers(gone.config), gone.age, False, True)
    config, problems = combine([gone])
    assert config.http.routers["web"].rule == "Path(`/gone`)"
    assert config.http.services["web"].members == []
    config, problems = combine([gone, part("here", {rule: "Path(`/here`)"}, 1, is_up=False)])
    assert config.http.routers["web"].rule == "Path(`/here`)"
    assert not problems


def test_the_label_of_a_bad_rule_is_named() -> None:
    said = read({"traefik.http.routers.web.rule": "Hots(`a`)"})
    assert said.config is not None
    found = check(merge({"docker": said.config}), StaticConfig.model_validate({}))
    assert "web@docker" in found.routers
    assert found.place("router", "web@docker") == "container web"


def test_the_compose_file_of_the_examples_is_right() -> None:
    file = Path(__file__).resolve().parents[3] / "examples" / "docker" / "compose.yaml"
    services = yaml.safe_load(file.read_text())["services"]
    flags = [part for part in services["lbcore"]["command"][-1].split() if part.startswith("--") and part != "--quiet"]
    static, warnings = from_flags(flags)
    assert warnings == []
    assert static.providers.docker is not None
    assert not static.providers.docker.exposed_by_default
    parts = []
    for name, service in services.items():
        if "labels" in service:
            said = read(service["labels"], name=name)
            assert (said.problems, said.warnings) == ([], [])
            assert said.config is not None
            parts.append(Part(name, said.config, (0,)))
    config, problems = combine(parts)
    assert problems == []
    merged = merge({"docker": config})
    found = check(merged, static)
    assert (found.routers, found.services, found.middlewares) == ({}, {}, {})
    assert sorted(merged.http.routers) == ["blog@docker", "shop@docker"]


def test_the_position_of_a_section_need_not_be_a_number() -> None:
    config = http(
        {
            "traefik.http.routers.r.tls.domains[b].main": "b.test",
            "traefik.http.routers.r.tls.domains[a].main": "a.test",
        }
    )
    router = config.routers["r"]
    assert router.faults == ()
    assert [domain.main for domain in router.tls.domains] == ["a.test", "b.test"]
    assert "rule" in faults({"traefik.http.routers.r.rule[]": "Path(`/`)"})["r"]


@pytest.mark.parametrize("position", ["[]", "[a]"])
def test_the_position_of_a_text_is_a_number(position: str) -> None:
    """Traefik leaves the text out, so a router would run without its middleware."""
    assert "needs a list" in faults({f"traefik.http.routers.r.middlewares{position}": "auth@file"})["r"]
    label = f"traefik.http.middlewares.m.basicauth.usersFile{position}"
    assert "may not name files" in faults({label: "/etc/passwd"})["m"]
    with pytest.raises(ConfigError, match="not the position in a list"):
        from_flags([f"--entryPoints.web.http.middlewares{position}=a@file"])
