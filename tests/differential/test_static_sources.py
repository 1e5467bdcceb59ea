"""Of a file, flags and variables, one counts: the same in real Traefik and in lbcore."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.cli.static import find_static
from tests.support.traefik import TRAEFIK

FILE = "entryPoints: {of-file: {address: '127.0.0.1:0'}}\nlog: {level: DEBUG, format: json}\n"
TABLES = '[entryPoints.of-file]\naddress = "127.0.0.1:0"\n[log]\nlevel = "DEBUG"\nformat = "json"\n'
LOG = ["--log.level=DEBUG", "--log.format=json"]
FLAGS = ["--entryPoints.OF-flags.address=127.0.0.1:0", "--entryPoints.FLAGS.address=127.0.0.1:0", *LOG]
VARIABLES = {
    "TRAEFIK_ENTRYPOINTS_Variables_ADDRESS": "127.0.0.1:0",
    "TRAEFIK_LOG_LEVEL": "DEBUG",
    "TRAEFIK_LOG_FORMAT": "json",
}


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def points_of_traefik(folder: Path, arguments: list[str], environ: dict[str, str]) -> set[str]:
    """The entry points that it tells once it has read its configuration."""
    process = subprocess.Popen(
        [str(TRAEFIK), *arguments], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        told = next(line for line in lines(process) if "staticConfiguration" in line)
    finally:
        process.kill()
        process.wait(10)
    return set(json.loads(told)["staticConfiguration"]["entryPoints"])


@pytest.mark.parametrize(
    ("file", "arguments", "counts"),
    [
        ("named.yml", ["--configFile=named.yml", *FLAGS], {"of-file"}),
        ("work/traefik.yml", FLAGS, {"of-file"}),
        ("work/traefik.toml", FLAGS, {"of-file"}),
        ("xdg/traefik.yaml", FLAGS, {"of-file"}),
        ("home/.config/traefik.yml", FLAGS, {"of-file"}),
        ("work/traefik.json", FLAGS, {"OF-flags", "FLAGS"}),
        ("", FLAGS, {"OF-flags", "FLAGS"}),
        ("work/traefik.yml", [], {"of-file"}),
        ("", [], {"variables"}),
    ],
)
def test_the_same_place_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, arguments: list[str], counts: set[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(TABLES if file.endswith("toml") else FILE)
    arguments = [argument.replace("named.yml", str(tmp_path / "named.yml")) for argument in arguments]
    environ = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "xdg"), **VARIABLES}
    assert points_of_traefik(work, arguments, environ) == counts
    monkeypatch.chdir(work)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    config = next((each.partition("=")[2] for each in arguments if each.startswith("--configFile")), None)
    flags = [each for each in arguments if not each.startswith("--configFile")]
    static, warnings, _ = find_static(config, flags)
    assert set(static.entry_points) == counts
    ignored = bool(flags) and counts == {"of-file"}
    assert [note.severity for note in warnings if "flags are not read beside a file" in note.problem] == (
        ["warning"] if ignored else []
    )


def test_what_an_image_ships_counts_where_nothing_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traefik's image has no configuration that could precede variables, or a file that is mounted."""
    shipped = tmp_path / "shipped.yml"
    shipped.write_text(FILE)
    monkeypatch.setattr("lbcore.cli.static.SHIPPED", shipped)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert set(find_static(None, [])[0].entry_points) == {"of-file"}
    assert set(find_static(None, FLAGS)[0].entry_points) == {"OF-flags", "FLAGS"}
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert set(find_static(None, [])[0].entry_points) == {"variables"}
    (tmp_path / "traefik.yml").write_text("entryPoints: {mounted: {address: ':0'}}\n")
    assert set(find_static(None, [])[0].entry_points) == {"mounted"}
