"""The static configuration from flags and from the environment says the same as the file."""

import pytest

from lbcore.config.load import parse_static
from lbcore.config.sources import from_environment, from_flags, is_in_environment
from lbcore.errors import ConfigError

FILE = """
entryPoints:
  web:
    address: ":80"
    asDefault: true
    forwardedHeaders: {trustedIPs: [10.0.0.0/8, 192.168.0.1]}
    transport: {respondingTimeouts: {readTimeout: 5s}}
providers: {file: {filename: a.yml, watch: false}}
ping: {}
log: {level: DEBUG}
"""


def test_flags_say_the_same_as_the_file() -> None:
    flags = [
        "--entryPoints.web.address=:80", "--entrypoints.web.asdefault", "--ping",
        "--entrypoints.web.forwardedHeaders.trustedIPs=10.0.0.0/8,192.168.0.1",
        "--entryPoints.web.transport.respondingTimeouts.readTimeout=5s",
        "--providers.file.filename", "a.yml", "--providers.file.watch=false", "--log.level=DEBUG",
    ]  # fmt: skip
    assert from_flags(flags)[0] == parse_static(FILE)[0]


@pytest.mark.parametrize("prefix", ["LBCORE_", "TRAEFIK_"])
def test_environment_says_the_same_as_the_file(prefix: str) -> None:
    variables = {
        "ENTRYPOINTS_WEB_ADDRESS": ":80",
        "ENTRYPOINTS_WEB_ASDEFAULT": "true",
        "ENTRYPOINTS_WEB_FORWARDEDHEADERS_TRUSTEDIPS_0": "10.0.0.0/8",
        "ENTRYPOINTS_WEB_FORWARDEDHEADERS_TRUSTEDIPS_1": "192.168.0.1",
        "ENTRYPOINTS_WEB_TRANSPORT_RESPONDINGTIMEOUTS_READTIMEOUT": "5s",
        "PROVIDERS_FILE_FILENAME": "a.yml",
        "PROVIDERS_FILE_WATCH": "false",
        "PING": "true",
        "LOG_LEVEL": "DEBUG",
    }
    environ = {prefix + name: value for name, value in variables.items()}
    assert from_environment({**environ, "PATH": "/bin"})[0] == parse_static(FILE)[0]


def test_a_flag_for_a_list_may_be_repeated() -> None:
    key = "--entryPoints.web.forwardedHeaders.trustedIPs"
    config, _ = from_flags([f"{key}=10.0.0.0/8,10.1.0.0/16", f"{key.lower()}=127.0.0.1", key, "192.168.0.1"])
    expected = ["10.0.0.0/8", "10.1.0.0/16", "127.0.0.1", "192.168.0.1"]
    assert config.entry_points["web"].forwarded_headers.trusted_ips == expected


def test_a_section_without_keys() -> None:
    assert from_flags(["--entryPoints.web.address=:80", "--ping={}"])[0] == from_flags(
        ["--entryPoints.web.address=:80", "--ping"]
    )[0]


@pytest.mark.parametrize("flag", ["--metrics.prometheus=false", "--providers.file=FALSE", "--ping=false"])
def test_a_section_that_is_off_makes_nothing_of_those_around_it(flag: str) -> None:
    assert from_flags(["--entryPoints.web.address=:80", flag])[0] == from_flags(["--entryPoints.web.address=:80"])[0]
    environ = {f"TRAEFIK_{flag[2:].partition('=')[0].replace('.', '_').upper()}": "false"}
    assert from_environment({**environ, "TRAEFIK_LOG_LEVEL": "ERROR"})[0] == parse_static("log: {level: ERROR}")[0]


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--entryPoints.web.adress=:80", "did you mean address"),
        ("--providers.file=true", "file cannot be a standalone element"),
        ("--entryPoints.web.address.deep=1", "goes deeper"),
        ("--entryPoints.web=yes", "needs keys below it"),
        ("web", "is no option"),
    ],
)
def test_bad_flag_is_refused(flag: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_flags([flag])


def test_missing_features_are_reported_and_the_rest_runs() -> None:
    flags = ["--hostResolver.resolvDepth=5", "--providers.ecs", "--log.maxSize=3", "--entryPoints.web.address=:80"]
    config, notes = from_flags(flags)
    assert set(config.entry_points) == {"web"}
    assert [(note.path, note.severity) for note in notes] == [
        ("hostResolver", "missing"),
        ("log.maxSize", "warning"),
        ("providers.ecs", "missing"),
    ]


def test_variables_that_name_no_section_are_no_configuration() -> None:
    strange = {"LBCORE_SERVICE_HOST": "10.0.0.1", "LBCORE_PORT": "tcp://10.0.0.1:80", "TRAEFIK_VERSION": "3"}
    assert not is_in_environment({**strange, "LBCORE_API": "http://127.0.0.1:8080", "LBCORE_WORKERS": "2"})
    config, notes = from_environment({**strange, "TRAEFIK_ENTRYPOINTS_WEB_ADDRESS": ":81"})
    assert config.entry_points["web"].address == ":81"
    assert [str(note) for note in notes] == [
        "environment: no configuration, ignored: LBCORE_PORT, LBCORE_SERVICE_HOST, TRAEFIK_VERSION"
    ]
    with pytest.raises(ConfigError, match="did you mean address"):
        from_environment({"LBCORE_ENTRYPOINTS_WEB_ADRESS": ":81"})


def test_a_refusal_names_all_problems_and_keeps_the_warnings() -> None:
    flags = ["--pilot.token=x", "--log.level=loud", "--log.bogus=1", "--entryPoints.web.address=:x"]
    with pytest.raises(ConfigError) as refused:
        from_flags(flags)
    found = [problem.path for problem in refused.value.problems]
    assert found == ["--log.bogus", "entryPoints.web.address", "log.level"]
    assert [warning.path for warning in refused.value.warnings] == ["pilot"]
    with pytest.raises(ConfigError) as refused:
        from_flags(["--pilot.token=x", "--log.bogus=1"])
    assert [warning.path for warning in refused.value.warnings] == ["pilot"]


def test_extensions_stand_below_lbcore() -> None:
    text = "log: {level: ERROR}\nlbcore: {plugins: {p: {onMissing: bypass}}, tls: {library: system}}\n"
    of_file = parse_static(text)[0]
    flags = ["--log.level=ERROR", "--lbcore.plugins.p.onMissing=bypass", "--lbcore.tls.library=system"]
    assert from_flags(flags)[0] == of_file
    variables = {"TRAEFIK_LOG_LEVEL": "ERROR", "LBCORE_LBCORE_TLS_LIBRARY": "system"}
    assert from_environment({**variables, "TRAEFIK_LBCORE_PLUGINS_P_ONMISSING": "bypass"})[0] == of_file
    assert of_file.bypasses("p") and not of_file.bypasses("q")


def test_names_in_flags_are_as_they_are_written_and_those_in_variables_small() -> None:
    """As in Traefik: `tls.certResolver: LE` of a router has to find the resolver."""
    flags = ["--entryPoints.WEB.address=:80", "--certificatesResolvers.LE.acme.tlsChallenge"]
    of_flags = from_flags(flags)[0]
    assert (set(of_flags.entry_points), set(of_flags.certificates_resolvers)) == ({"WEB"}, {"LE"})
    variables = {"ENTRYPOINTS_Web_ADDRESS": ":80", "CERTIFICATESRESOLVERS_LE_ACME_TLSCHALLENGE": "true"}
    of_variables = from_environment({f"TRAEFIK_{name}": value for name, value in variables.items()})[0]
    assert (set(of_variables.entry_points), set(of_variables.certificates_resolvers)) == ({"web"}, {"le"})


def test_a_name_may_have_dots() -> None:
    config = from_flags(["--entryPoints.web.address=:80", "--accessLog.fields.headers.names.X.Y=keep"])[0]
    assert config.access_log is not None
    assert config.access_log.fields.headers.names == {"X.Y": "keep"}
